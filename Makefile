# `make repro` runs the main job, `make test` passes the tests; both build the environment first if need be.
#
#   PYTHON=python3.12   the interpreter the environment is made from
#   TORCH="..."         what pip installs for torch instead of requirements/torch.txt, such as another CUDA or a CPU build
#   VENV=path           the environment's folder, instead of .venv; after `touch path/.dstc-ready`, one of your own stays as it is

PYTHON ?= python3
VENV ?= .venv
TORCH ?= -r requirements/torch.txt
BIN := $(VENV)/bin
READY := $(VENV)/.dstc-ready
export PATH := $(abspath $(BIN)):$(PATH)
# dvc asks for a name, which a user id in a container need not have.
export USER ?= $(shell id -u)

.PHONY: repro smoke test test-slow endurance runs watch bench lint env pin preset clean

repro: $(READY) .git
	dvc repro

# Every stage on a few small images, in a temporary copy: params.yaml, dvc.lock and metrics/ stay as they are.
smoke: $(READY) .git
	python -m tests.smoke

test: $(READY) .git
	pytest -n 2 -m "not slow" --timeout 300 --durations 15

test-slow: $(READY)
	pytest -m slow

# Kill the training stages at random moments and compare bytes: about ten seconds of CPU a kill.
endurance: $(READY)
	python -m tests.endurance --kills 42 --seed 0

# The working folders of interrupted and finished trainings; `python -m dstc.training.runs clean` removes them.
runs: $(READY)
	python -m dstc.training.runs

# The newest rows of the curves of every training that is running, and each new one as it comes. Ctrl-C ends it.
watch: $(READY)
	@exec python -m dstc.training.watch

# How fast it is beside the straightforward ways; GROUPS="data evaluation" runs some. Results go to bench/results/.
bench: $(READY)
	python -m bench $(GROUPS)

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy
	lint-imports

env: $(READY)

$(READY): requirements/torch.txt requirements/pinned.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dstc needs Python 3.11 or newer; name one with make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/pinned.txt
	@touch $(READY)

# DVC needs a git repository, and a ZIP of the project holds none. (Inside another repository, that one will do.)
.git:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "no git repository here: making one, with a first commit" && git init -q && git add . \
	  && git -c user.name=dstc -c user.email=dstc@localhost commit -q --no-verify --no-gpg-sign -m "The project as it was unpacked"; }

# Pin what pyproject.toml names, apart from torch and its own needs, which the choice of torch decides.
pin: $(READY)
	$(BIN)/python -m pip freeze --disable-pip-version-check \
	  | grep -vE '^(torch|torchvision|triton|nvidia-|cuda-|sympy|mpmath|jinja2|Jinja2|MarkupSafe|setuptools)' \
	  > requirements/pinned.txt

# make preset NAME=gta5_cityscapes SET="paths.source=/data/gta5 paths.target=/data/cityscapes"
preset: $(READY)
	python -m dstc.presets $(NAME) $(SET)

clean:
	rm -rf .work .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
