"""Change values of a YAML file and leave all else of it as its author wrote it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter


def merged_text(text: str, overlay: Mapping[str, Any]) -> str:
    """The text of a YAML file, such as params.yaml, with `overlay` merged into it, comments and formatting kept."""
    yaml, stream = _round_trip(), io.StringIO()
    document = yaml.load(text)
    _edit(document, overlay)
    yaml.dump(document, stream)
    return stream.getvalue()


def _edit(section: Any, overlay: Mapping[str, Any]) -> None:
    """Merge into ruamel's document, touching only what changes: lists stay in brackets, comments one space behind."""
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(section.get(key), dict):
            _edit(section[key], value)
        elif key not in section or section[key] != value:
            section[key] = _bracketed(value) if isinstance(value, list) else value
            comment = section.ca.items.get(key, (None,) * 3)[2]
            if comment:
                comment.column = 0  # else it is held at its old column, away from a shorter value


def _bracketed(values: list[Any]) -> CommentedSeq:
    sequence = CommentedSeq(values)
    sequence.fa.set_flow_style()
    return sequence


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
