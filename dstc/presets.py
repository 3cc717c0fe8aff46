"""Merge a preset (presets/NAME.yaml) into params.yaml, or print it as flags for `dvc exp run`.

    python -m dstc.presets                                        the presets there are
    python -m dstc.presets NAME [key=value ...]                   merge into params.yaml; its comments stay
    python -m dstc.presets NAME [key=value ...] --flags | xargs dvc exp run

A preset holds only the parameters in which it differs from presets/_default.yaml, from which every preset starts: it sets
all parameters, whatever was in params.yaml, but for `runtime` and for the paths that it requires, which are the user's own.
Hydra's composition, which DVC offers for this, would overwrite params.yaml on every `dvc exp run`, comments included, and
go unseen by `dvc repro`.

Three keys of a preset are not parameters: `about` (one line for the list), `extends` (the preset or presets to start
from, later ones winning) and `requires` (dotted keys whose values are paths of one's own machine, with an example
each). A file whose name begins with `_` is a part that presets extend, not a preset.
"""

from __future__ import annotations

import argparse
import copy
import re
import reprlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dstc.config.params import check_params, load_yaml, read_yaml
from dstc.config.yaml_editing import is_section, merged_text
from dstc.core.errors import UserError, exit_on_user_error, nearest
from dstc.core.files import write_text

Tree = dict[str, Any]  # nested sections, as in params.yaml

PRESETS = Path("presets")
DEFAULT = "_default.yaml"
PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class Preset:
    """A preset with all that it extends merged in."""

    about: str
    requires: dict[str, str]  # dotted key: an example of its value
    overlay: Tree


# --- reading presets


def preset_names(folder: Path = PRESETS) -> list[str]:
    """The presets that can be merged, parts left out."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.stem.startswith("_"))


def read_preset(name: str, folder: Path = PRESETS) -> Preset:
    """A preset by the name that a user typed, with all that it extends, and below that the default."""
    known = preset_names(folder)
    if name not in known:
        raise UserError(f"preset '{name}': there is none of that name{nearest(name, known)}\n{_listed(known, folder)}")
    preset, overlay = _read(name, folder, ()), read_yaml(folder / DEFAULT)
    merge(overlay, preset.overlay)
    return replace(preset, overlay=overlay)


def _read(name: str, folder: Path, trail: tuple[str, ...]) -> Preset:
    path = folder / f"{name}.yaml"
    if name in trail:
        raise UserError(f"{path}: extends itself: {' -> '.join((*trail, name))}")
    raw = read_yaml(path)
    head = {key: _taken(raw, key, kind, path) for key, kind in (("about", str), ("extends", list), ("requires", dict))}
    parents = [_parent(parent, path, (*trail, name)) for parent in head["extends"]]
    overlay: Tree = {}
    requires: dict[str, str] = {}
    for layer in (*parents, Preset(head["about"], head["requires"], raw)):
        merge(overlay, layer.overlay)
        requires |= layer.requires
    return Preset(head["about"], requires, overlay)


def _taken(raw: Tree, key: str, kind: type, path: Path) -> Any:
    """Take what is not a parameter out of a preset; where it is missing, the kind's empty value."""
    value = raw.pop(key, kind())
    if key == "extends" and isinstance(value, str):
        return [value]
    if not isinstance(value, kind):
        raise UserError(f"{path}: {key}: must be a {kind.__name__}, not {reprlib.repr(value)}")
    return value


def _parent(name: Any, child: Path, trail: tuple[str, ...]) -> Preset:
    known = sorted(path.stem for path in child.parent.glob("*.yaml"))
    if name not in known:
        raise UserError(f"{child}: extends: there is no '{name}'{nearest(str(name), known)}")
    return _read(name, child.parent, trail)


def _listed(names: list[str], folder: Path) -> str:
    return f"{folder}/ holds {', '.join(names) or 'no preset; run from the root of the project'}"


# --- settings and trees


def merge(tree: Tree, overlay: Mapping[str, Any], shape: Mapping[str, Any] | None = None) -> None:
    """Set in `tree` what `overlay` holds; sections are merged, any other value, lists too, is replaced.

    With a `shape`, only what it has as a section is one: a table of labels, empty or null there, is a value.
    """
    for key, value in overlay.items():
        inside = None if shape is None else shape.get(key)
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict) and (shape is None or is_section(inside)):
            merge(tree[key], value, inside)
        else:
            tree[key] = copy.deepcopy(value)


def parse_settings(settings: Iterable[str]) -> Tree:
    """`["split.size=200"]` as `{"split": {"size": 200}}`; the values are YAML."""
    overlay: Tree = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise UserError(f"'{setting}': must be key=value with a dotted key, such as split.size=200")
        merge(overlay, _nested(key, load_yaml(text, f"'{setting}'")))
    return overlay


def _nested(key: str, value: Any) -> Tree:
    """A tree that holds one value, at a dotted key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def leaves(overlay: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; what is no section in `known`, such as a table of labels, is one value."""
    for key, value in overlay.items():
        inside = known.get(key)
        if isinstance(value, Mapping) and is_section(inside):
            yield from leaves(value, inside, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def value_at(tree: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = tree
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


# --- what a preset makes of params.yaml


def resolve(name: str, settings: Sequence[str], params: Tree, folder: Path = PRESETS) -> tuple[Tree, Tree]:
    """(all that a preset and the settings typed beside it set, the checked parameters that they make of `params`)."""
    preset, typed = read_preset(name, folder), parse_settings(settings)
    overlay, merged = copy.deepcopy(preset.overlay), copy.deepcopy(params)
    own = kept(preset, params)
    for key, value in own.items():
        merge(overlay, _nested(key, value))
    merge(overlay, typed)
    # Before the check: its messages about the built-in data set would hide what is really missing.
    missing = [key for key in preset.requires if key not in own and value_at(typed, key) is None]
    _demand(name, preset, settings, missing)
    merge(merged, overlay, shape_of(params, folder))
    check_params(merged, f"params.yaml with preset '{name}'")
    return overlay, merged


def shape_of(params: Tree, folder: Path = PRESETS) -> Tree:
    """Parameters that show what is a section: the default's, and `runtime` of the user."""
    return {**params, **read_yaml(folder / DEFAULT)}


def kept(preset: Preset, params: Tree) -> dict[str, Any]:
    """By dotted key what stays as it is in `params`: paths of the user's machine, where a preset requires them."""
    found = {key: value_at(params, key) for key in preset.requires if Path(str(value_at(params, key))).is_absolute()}
    unlabeled = value_at(params, "paths.unlabeled")
    return found | ({"paths.unlabeled": unlabeled} if "paths.target" in found and unlabeled else {})


def _demand(name: str, preset: Preset, settings: Sequence[str], missing: Sequence[str]) -> None:
    if missing:
        command = [name, *settings, *(f"{key}={preset.requires[key]}" for key in missing)]
        raise UserError(
            f"preset '{name}': {', '.join(missing)}: must be given. With your own paths, type\n"
            f"  python -m dstc.presets {shlex.join(command)}"
        )


# --- printing


def changes(before: Tree, after: Tree, shape: Tree) -> list[str]:
    """`key: old -> new`, one line for each parameter that differs."""
    return [
        f"{key}: {override_value(value_at(before, key))} -> {override_value(new)}"
        for key, new in leaves(after, shape)
        if new != value_at(before, key)
    ]


def flags(overlay: Tree, shape: Tree) -> str:
    """The overlay as `-S` flags, quoted for a shell (and for xargs).

    All of it, not only what differs from params.yaml, so that a saved command line keeps its meaning.
    """
    words = []
    for key, value in leaves(overlay, shape):
        if isinstance(value, Mapping):  # Hydra would merge it into the old one, and refuses new keys without ++
            words += ["-S", f"{key}=null"]  # which means an empty one, and DVC fails to write that
            words += ["-S", f"++{key}={override_value(value)}"] if value else []
        else:
            words += ["-S", f"{key}={override_value(value)}"]
    return shlex.join(words)


def override_value(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which `-S` has; strings are quoted only where they must be."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{override_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(override_value(item) for item in value) + "]"
    return _override_string(str(value))


def _override_string(text: str) -> str:
    words = ("null", "true", "false", "inf", "nan")
    if re.fullmatch(r"[A-Za-z_/][\w/.-]*", text, re.ASCII) and text.lower() not in words:
        return text
    # In Hydra's quotes a backslash escapes only in front of a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


# --- the command


def main(arguments: Sequence[str] | None = None, prog: str = "python -m dstc.presets") -> None:
    parser = argparse.ArgumentParser(
        prog,
        description=str(__doc__).partition("\nA preset is")[0].strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="a file of presets/, without .yaml; without a name, they are listed")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="parameters to set beside it, such as split.size=200"
    )
    parser.add_argument("--flags", action="store_true", help="print -S flags for `dvc exp run`; change nothing")
    parser.add_argument("--list", action="store_true", help="list the presets")
    options = parser.parse_intermixed_args(arguments)
    with exit_on_user_error():
        if options.list or options.name is None:
            _print_list()
        elif options.flags:
            params = read_yaml(PARAMS)
            print(flags(resolve(options.name, options.settings, params)[0], shape_of(params)))
        else:
            _merge_into_params(options.name, options.settings)


def _print_list() -> None:
    names = preset_names()
    if not names:
        raise UserError(_listed(names, PRESETS))
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {read_preset(name).about}")


def _merge_into_params(name: str, settings: Sequence[str]) -> None:
    before = read_yaml(PARAMS)
    overlay, after = resolve(name, settings, before)
    shape = shape_of(before)
    write_text(PARAMS, merged_text(PARAMS.read_text(encoding="utf-8"), overlay, shape))
    print("\n".join(changes(before, after, shape)) or f"{PARAMS} already holds preset '{name}'")
    for key, value in kept(read_preset(name), before).items():  # perhaps left by another preset: let the user see them
        if value_at(after, key) == value and value_at(parse_settings(settings), key) is None:
            shown = override_value(value) if isinstance(value, list) else value
            print(f"{key}: kept {shown}{_of_a_layout(key, before, after)}")


def _of_a_layout(key: str, before: Tree, after: Tree) -> str:
    """What to say of a path that was for another layout."""
    if not key.startswith("paths."):
        return ""
    layout = f"data.{'source' if key == 'paths.source' else 'target'}.layout"
    old, new = value_at(before, layout), value_at(after, layout)
    return "" if old in (new, None) else f", which was for data of layout {old}; now {layout} is {new}"


if __name__ == "__main__":
    main()
