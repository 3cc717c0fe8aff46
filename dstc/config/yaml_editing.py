"""Change values of a YAML file and leave all else of it as its author wrote it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, TypeGuard

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter


def is_section(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value of a parameter file, as it is shipped, is a section with keys of its own."""
    return isinstance(value, Mapping) and len(value) > 0


def merged_text(text: str, overlay: Mapping[str, Any], shape: Mapping[str, Any] | None = None) -> str:
    """The text of a YAML file, such as params.yaml, with `overlay` merged into it, comments and formatting kept.

    With a `shape`, a mapping that is no section there is replaced: what `overlay` does not name of it goes.
    """
    yaml, stream = _round_trip(), io.StringIO()
    document = yaml.load(text)
    _edit(document, overlay, shape)
    yaml.dump(document, stream)
    return stream.getvalue()


def _edit(section: Any, overlay: Mapping[str, Any], shape: Mapping[str, Any] | None) -> None:
    """Merge into ruamel's document, touching only what changes: lists stay in brackets, comments one space behind."""
    for key, value in overlay.items():
        inside = None if shape is None else shape.get(key)
        if isinstance(value, Mapping) and isinstance(section.get(key), dict) and (shape is None or is_section(inside)):
            _edit(section[key], value, inside)
        elif key not in section or section[key] != value:
            section[key] = _bracketed(value)
            comment = section.ca.items.get(key, (None,) * 3)[2]
            if comment:
                comment.column = 0  # else it is held at its old column, away from a shorter value


def _bracketed(value: Any) -> Any:
    """A list or mapping as it is written on one line; any other value as it is."""
    if not isinstance(value, list | dict):
        return value
    if isinstance(value, list):
        collection: Any = CommentedSeq(value)
    else:
        collection = CommentedMap({key: _bracketed(item) for key, item in value.items()})
    collection.fa.set_flow_style()
    return collection


class _Representer(RoundTripRepresenter):
    """Writes None as `null`, as params.yaml does; ruamel leaves it empty.

    A class of its own, because representers are kept by class and DVC, which may run in this process, uses ruamel's.
    """

    def represent_null(self, _: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_null)


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 10_000  # never fold a line
    return yaml
