"""params.yaml as typed sections, checked whole before any work.

Unknown keys, wrong types, values out of range and contradictions between sections are refused with one line each that
names the key, the rule, the value and, for an unknown key, the nearest right one. Read with ruamel.yaml (YAML 1.2), as
DVC reads it: PyYAML takes the `2e-06` that `-S` writes for a string.
"""

from __future__ import annotations

import itertools
import math
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode

from dstc.config.model_rules import model_problems
from dstc.config.notes import OWN_LAYOUTS, notes
from dstc.config.sections import (
    CoTrain,
    Data,
    Evaluate,
    Joint,
    Model,
    Optim,
    Paths,
    Runtime,
    Section,
    Seed,
    Split,
    WarmUps,
)
from dstc.core.errors import UserError, nearest
from dstc.core.launched import was_launched
from dstc.core.taxonomy import KNOWN_CLASSES

LARGEST = 100_000  # values in a parameter file

RENAMED = {
    "co_train.teacher_decay": "optim.ema_decay",
    "co_train.ema_decay": "optim.ema_decay",
    "co_train.ramp_iterations": "co_train.lr_ramp_iterations",
    "co_train.cross_supervision_from": "co_train.cross_supervision_start",
    "runtime.save_minutes": "runtime.checkpoint_every_minutes",
    "runtime.checkpointing": "runtime.gradient_checkpointing",
}
SAVED_BY_TIME = "a training saves its state every runtime.checkpoint_every_minutes"
REMOVED = {
    "runtime.save_iterations": SAVED_BY_TIME,
    "runtime.checkpoint_every_iterations": SAVED_BY_TIME,
    "co_train.class_mix_labeled": "it brought nothing beside combination: differentiated_and_target",
    "optim.accumulation": "every preset had 1; batches are divided over processes instead",
    "model.synchronized_batch_norm": "batch statistics are always those of the whole batch, whatever the processes",
}


class Params(Section):
    """All of params.yaml, one typed section for each of its own; made by `read_params` and `check_params`."""

    paths: Paths
    data: Data
    split: Split
    seed: Seed
    model: Model
    optim: Optim
    warm_up: WarmUps
    joint: Joint
    co_train: CoTrain
    evaluate: Evaluate
    runtime: Runtime

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        problems = [
            *_class_problems(self),
            *model_problems(self),
            *_path_problems(self),
            *_co_train_problems(self),
            *_joint_problems(self),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _class_problems(params: Params) -> list[str]:
    data, own = params.data, params.data.own
    if own.target_labels is None and own.target_ignored:
        return ["data.own.target_ignored goes with data.own.target_labels, which is null; give both, or neither"]
    tables = {"labels": own.labels or {}} | ({} if own.target_labels is None else {"target_labels": own.target_labels})
    if data.classes == "own":
        return _own_class_problems(data, tables)
    used = (("labels", data.source.layout), (list(tables)[-1], data.target.layout))
    missing = {part: layout for part, layout in used if layout in OWN_LAYOUTS and not tables[part]}
    names = set(KNOWN_CLASSES[data.classes].names)
    return [
        f"data.own.{part} must say which label ids or colors mean which class for layout '{layout}'"
        for part, layout in missing.items()
    ] + [
        f"data.own.{part}.{name}: not a class of data.classes '{data.classes}'{nearest(name, names)}"
        for part, table in tables.items()
        for name in table
        if name not in names
    ]


def _own_class_problems(data: Data, tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    own, layouts = data.own, (data.source.layout, data.target.layout)
    known_layouts = [layout for layout in layouts if layout not in OWN_LAYOUTS]
    if known_layouts:
        return [
            f"data.classes is 'own', but layout '{known_layouts[0]}' has Cityscapes classes; use 'folders' or 'csv'"
        ]
    if len(own.class_names) < 2 or len(own.class_names) > 254 or len(set(own.class_names)) != len(own.class_names):
        return [f"data.own.class_names must hold 2 to 254 different names, not {own.class_names}"]
    problems = [
        f"data.own.{part}.{name}: not among data.own.class_names{nearest(name, own.class_names)}"
        for part, keys in {**tables, "colors": own.colors or {}}.items()
        for name in keys
        if name not in own.class_names
    ]
    missing = {part: [name for name in own.class_names if name not in table] for part, table in tables.items()}
    return problems + [
        f"data.own.{part} must have an entry for each class; missing: {names} (give [] for one that does not occur)"
        for part, names in missing.items()
        if names
    ]


def _co_train_problems(params: Params) -> list[str]:
    problems = []
    if params.co_train.initialization == "both_from_joint" and params.joint.iterations == 0:
        problems.append(
            "co_train.initialization 'both_from_joint' starts from joint training, which joint.iterations 0 leaves out; "
            "set joint.iterations: null"
        )
    if params.co_train.teachers == "averaged" and params.optim.ema_decay == 0:
        problems.append(
            "co_train.teachers 'averaged' are moving averages, of which optim.ema_decay 0 makes none; set a decay such as "
            "0.99, or co_train.teachers: branches"
        )
    return problems


def _joint_problems(params: Params) -> list[str]:
    """Joint training may be as long as the others together, which its own section does not know."""
    others = (params.warm_up.source, params.warm_up.target, params.co_train)
    length = sum(one.iterations for one in others) if params.joint.iterations is None else params.joint.iterations
    if length and params.joint.lr_ramp_iterations >= length:
        return [f"joint.lr_ramp_iterations ({params.joint.lr_ramp_iterations}) must be below its {length} iterations"]
    return []


def _path_problems(params: Params) -> list[str]:
    paths, problems = params.paths, []
    if (paths.source == "embedded") != (paths.target == "embedded"):
        problems.append("paths.source and paths.target must both be 'embedded' or both be folders")
    if paths.source == "embedded" and (params.data.source.layout, params.data.target.layout) != ("gta5", "cityscapes"):
        problems.append("paths.source 'embedded' has data.source.layout 'gta5' and data.target.layout 'cityscapes'")
    folders = {"paths.source": paths.source, "paths.target": paths.target}
    folders |= {f"paths.unlabeled[{i}]": folder for i, folder in enumerate(paths.unlabeled)}
    for key, folder in folders.items():
        if not Path(folder).is_absolute() and (folder != "embedded" or key.startswith("paths.unlabeled")):
            problems.append(f"{key}: '{folder}' must be an absolute path (experiments run in copies of this folder)")
    doubled = [folder for folder, count in Counter(map(Path, paths.unlabeled)).items() if count > 1]
    problems += [f"paths.unlabeled: '{folder}' is named more than once" for folder in doubled]
    return problems


def read_params(path: Path = Path("params.yaml"), *, tell: Sequence[str] = (), with_weights: bool = False) -> Params:
    """Read and check a parameter file; raise UserError with one line for each problem.

    Of the sections `tell`, those that a stage tracks, it is printed what has no effect beside the rest. `with_weights`:
    the file that model.initial_weights may name must be there.
    """
    params = check_params(read_yaml(path), str(path))
    if with_weights:
        _demand_weights(params)
    if not was_launched():  # the process that started this one has told it
        for note in notes(params, tell):
            print(f"note: {note}", flush=True)
    return params


def _demand_weights(params: Params) -> None:
    """Raise UserError where model.initial_weights is the path of a file that is not there."""
    weights = Path(params.model.initial_weights)
    if weights.is_absolute() and not weights.is_file():
        raise UserError(
            f"model.initial_weights: there is no file {weights}; give the path of one, or a name such as imagenet"
        )


def read_yaml(path: Path) -> dict[str, Any]:
    """The plain contents of a YAML 1.2 file whose top level is a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    raw = load_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must hold a mapping of sections, not {type(raw).__name__}")
    return raw


def load_yaml(text: str, where: str) -> Any:
    """The plain value of a YAML 1.2 text. One whose aliases (`*name`) make it explode or contain itself is refused."""
    try:
        size = _size_of(YAML(typ="safe", pure=True).compose(text), {}) if "*" in text else 0
        value = YAML(typ="safe", pure=True).load(text) if size <= LARGEST else None
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply") from None
    except Exception as error:  # ruamel raises many kinds (of `!!bool x` a KeyError); each means the same to a user
        raise UserError(f"{where}: not valid YAML: {_one_line(error)}") from None
    if size > LARGEST:
        raise UserError(f"{where}: its aliases (*name) make it hold more than {LARGEST:,} values, or itself")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).replace('in "<unicode string>", ', "").split())  # ruamel was given no file's name


def _size_of(node: Any, known: dict[Any, float]) -> float:
    """How many values a YAML node comes to with every alias written out; infinite if it contains itself."""
    if not isinstance(node, CollectionNode):
        return 1
    if node not in known:
        known[node] = math.inf
        children = itertools.chain.from_iterable(node.value) if isinstance(node, MappingNode) else node.value
        known[node] = 1 + sum(_size_of(child, known) for child in children)
    return known[node]


def check_params(raw: dict[str, Any], where: str) -> Params:
    """Turn plain values into typed sections."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [line for problem in _without_echoes(error.errors()) for line in _explain(problem)]
        raise UserError("\n".join(f"{where}: {line}" for line in lines)) from None


def _without_echoes(problems: Sequence[Any]) -> list[Any]:
    """Leave out that a key is missing where it is given under its old name."""
    given = {RENAMED.get(_dotted(problem["loc"])) for problem in problems if problem["type"] == "extra_forbidden"}
    return [problem for problem in problems if problem["type"] != "missing" or _dotted(problem["loc"]) not in given]


def _dotted(location: tuple[str | int, ...]) -> str:
    return ".".join(map(str, location))


def _explain(problem: Any) -> list[str]:
    key = _dotted(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return [f"{key}: {_unknown(key, problem['loc'])}"]
    if problem["type"] == "missing":
        return [f"{key}: missing; every key must be given"]
    if problem["type"] == "value_error":
        prefix = f"{key}: " if key else ""
        return [prefix + line for line in str(problem["ctx"]["error"]).splitlines()]
    rule = problem["msg"].replace("Input should", "must")
    hint = (
        nearest(str(problem["input"]), problem["ctx"]["expected"].split("'"))
        if problem["type"] == "literal_error"
        else ""
    )
    return [f"{key}: {rule}, not {reprlib.repr(problem['input'])}{hint}"]


def _unknown(key: str, location: tuple[str | int, ...]) -> str:
    if key in RENAMED:
        return f"was renamed to {RENAMED[key]}; write that instead"
    if key in REMOVED:
        return f"was removed ({REMOVED[key]}); delete the line"
    return f"unknown key{nearest(str(location[-1]), _keys_at(location[:-1]))}"


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    model: Any = Params
    for part in location:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
