"""The wheel, as pip builds and installs it: what it holds, what it declares, and that it works away from the project."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import dstc
from dstc.command_line import COMMANDS, main
from tests.pipeline.project import ROOT, files_of_the_project
from tests.prediction.test_predict import write_network, write_photo

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_FOR_PREDICT = ("dvc", "pandas", "matplotlib", "scipy", "timm", "cv2", "onnx")
USER = """\
from pathlib import Path

import numpy as np

from dstc.api import Predictor, UserError

label: np.ndarray = Predictor(Path("a.pt"), device="cpu")(np.zeros((32, 48, 3), np.uint8))
try:
    Predictor("none.pt")
except UserError:
    print(label.shape)
"""


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, for setuptools leaves folders behind; without a network, for build isolation needs one."""
    try:
        found = int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        found = 0
    if found < 77:
        pytest.skip("building the wheel without a network takes setuptools >= 77 in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    for name in files_of_the_project():
        if name.startswith("dstc/") or "/" not in name:
            (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "project" / name)
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", ".", *options, cwd=folder / "project")
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment in which pip has installed the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "this.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    python = folder / "env/bin/python"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    return python.parent


def test_the_wheel_holds_the_package_its_page_and_its_type_marker_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name for name in files_of_the_project() if name.startswith("dstc/")}


def test_the_metadata_declares_version_dependencies_extras_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = archive.read(path).decode()
        entry_points = archive.read(path.replace("METADATA", "entry_points.txt")).decode()
    assert f"\nVersion: {dstc.__version__}\n" in metadata
    assert {"timm", "onnx", "tensorboard", "dev"} == set(re.findall(r"^Provides-Extra: (\w+)", metadata, re.MULTILINE))
    assert set(re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE)) == set(PYPROJECT["dependencies"])
    assert "dstc = dstc.command_line:main" in entry_points


def test_the_installed_command_predicts_in_any_folder_without_dvc_and_what_is_optional(
    installed: Path, tmp_path: Path
) -> None:
    write_network(tmp_path / "a.pt")
    write_photo(tmp_path / "photos/one.png", 96, 64)
    assert run(installed / "dstc", "version", cwd=tmp_path) == f"dstc {dstc.__version__}\n"
    lacking = f"import sys; sys.modules.update(dict.fromkeys({NOT_FOR_PREDICT})); "
    code = f"{lacking}from dstc.command_line import main; main(sys.argv[1:])"
    run(installed / "python", "-c", code, "predict", "a.pt", "photos", "--device", "cpu", cwd=tmp_path)
    assert (tmp_path / "predictions/overlays/one.jpg").is_file()
    assert "no such folder; run from the project's root" in run(
        installed / "dstc", "own-data", "a", "b", cwd=tmp_path, code=1
    )


def test_a_users_typed_program_runs_and_passes_mypy_with_the_installed_package(installed: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "a.pt")
    (tmp_path / "user.py").write_text(USER)
    assert run(installed / "python", "user.py", cwd=tmp_path) == "(32, 48)\n"
    options = ("--strict", "--python-executable", installed / "python", "--follow-imports", "silent")
    assert "Success" in run(sys.executable, "-m", "mypy", *options, "user.py", cwd=tmp_path)


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=<]", requirement)[0].lower() for requirement in requirements}


def test_all_that_the_package_imports_is_declared_and_only_reports_need_an_extra_of_the_pipeline() -> None:
    distributions = packages_distributions()
    declared = names_of(PYPROJECT["dependencies"])
    optional = {"timm": {"dstc/models/"}, "onnxruntime": {"dstc/prediction/"}}
    optional |= {"matplotlib": {"dstc/reporting/"}, "pandas": {"dstc/reporting/"}}
    for name in files_of_the_project():
        if name.startswith("dstc/") and name.endswith(".py"):
            for module in imported_in(ROOT / name) - set(sys.stdlib_module_names) - {"dstc"}:
                found = {distribution.lower() for distribution in distributions[module]}
                allowed = any(name.startswith(folder) for one in found for folder in optional.get(one, ()))
                assert found & declared or allowed, f"{name} imports {module}"


def imported_in(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}}


def test_every_package_that_is_declared_is_pinned() -> None:
    pinned = names_of((ROOT / "requirements/pinned.txt").read_text().split())
    extras = PYPROJECT["optional-dependencies"].values()
    declared = names_of([*PYPROJECT["dependencies"], *(name for extra in extras for name in extra)])
    by_the_choice_of_torch = {"torch", "torchvision", "setuptools", "dstc"}
    assert declared - by_the_choice_of_torch - pinned == set()


def test_the_citation_has_the_packages_version() -> None:
    assert YAML(typ="safe").load(ROOT / "CITATION.cff")["version"] == dstc.__version__


# --- the console command


@pytest.mark.parametrize("name", [name for name, (module, _) in COMMANDS.items() if module])
def test_the_console_command_runs_the_main_of_its_module(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: dstc {name} ")


def test_an_unknown_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predct", "a.pt"])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in ("predct", *COMMANDS))


def test_nothing_heavy_is_imported_before_the_command_is_known() -> None:
    code = "import sys; from dstc.command_line import main; main(['version']); print(sorted(sys.modules))"
    shown = run(sys.executable, "-c", code, cwd=ROOT)
    assert not {"torch", "numpy", "PIL", "pydantic", "ruamel"} & set(ast.literal_eval(shown.splitlines()[1]))
