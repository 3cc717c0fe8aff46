"""The table of bad parameter files: what a user sees of each. Single bad values: tests/config/test_params.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_input.conftest import run_stage

NINE = ", ".join(["*{0}"] * 9)


def explosion(form: str) -> str:
    """Nine aliases of nine aliases of ... : a kilobyte that would be 9**12 values."""
    lines = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {form.format(NINE.format(f'a{i - 1}'))}" for i in range(1, 13))]
    return "\n".join(lines) + "\n"


def replaced(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return edit


def added(line: str) -> Callable[[str], str]:
    return lambda text: text + line + "\n"


CONTAINS_TOO_MUCH = "its aliases (*name) make it hold more than 100,000 values, or itself"
TABLE: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    # not a file of parameters at all
    "empty": (lambda _: "", "must hold a mapping of sections, not NoneType"),
    "comments alone": (lambda _: "# nothing\n", "must hold a mapping of sections, not NoneType"),
    "a list": (lambda _: "- split\n", "must hold a mapping of sections, not list"),
    "a word": (lambda _: "params", "must hold a mapping of sections, not str"),
    "not YAML": (lambda text: text + "}{", "not valid YAML"),
    "a tab as indentation": (added("more:\n\tkey: 1"), "that cannot start any token"),
    "two documents": (added("---\nseed: 1"), "not valid YAML: expected a single document"),
    "binary": (lambda _: bytes(range(256)), "not valid YAML: 'utf-8' codec can't decode"),
    "UTF-16": (lambda text: text.encode("utf-16"), "not valid YAML: 'utf-8' codec can't decode"),
    "a NUL": (added("more: \0"), "not valid YAML: unacceptable character #x0000"),
    "JSON cut off": (lambda _: '{"seed": 1, "split": {', "not valid YAML"),
    # keys
    "a key twice": (added("seed: 1"), 'found duplicate key "seed"'),
    "a key twice inside": (replaced("split:\n", "split:\n  seed: 3\n"), 'found duplicate key "seed"'),
    "an unknown section": (added("optimizer: {}"), "optimizer: unknown key; did you mean 'optim'?"),
    "a misspelt key": (replaced("held_out", "heldout"), "data.source.heldout: unknown key; did you mean 'held_out'?"),
    "a missing section": (lambda text: text[: text.index("runtime:")], "runtime: missing; every key must be given"),
    "a number as key": (added("3: 4"), "3: Keys should be strings, not 3"),
    "a list as key": (added("? [a, b]\n: 4"), "Keys should be strings, not ('a', 'b')"),
    # kinds
    "a list for a section": (replaced("split:\n", "split: []\nsplat:\n"), "split: must be a valid dictionary"),
    "null for a number": (
        replaced("threads: 1", "threads: null"),
        "runtime.threads: must be a valid integer, not None",
    ),
    "a date for a number": (replaced("threads: 1", "threads: 2026-01-01"), "runtime.threads: must be a valid integer"),
    "yes for true": (replaced("class_mix: true", "class_mix: yes"), "co_train.class_mix: must be a valid boolean"),
    "a number of 5,000 digits": (replaced("threads: 1", f"threads: {'9' * 5000}"), "not valid YAML: Exceeds the limit"),
    "not a number": (replaced("momentum: 0.9", "momentum: .nan"), "optim.momentum: must be"),
    "infinite": (replaced("momentum: 0.9", "momentum: .inf"), "optim.momentum: must be less than 1, not inf"),
    "a wrong tag": (replaced("threads: 1", "threads: !!bool x"), "not valid YAML"),
    "a tag that would run code": (
        replaced("threads: 1", 'threads: !!python/object/apply:pathlib.Path.touch ["it-ran"]'),
        "not valid YAML: could not determine a constructor for the tag",
    ),
    "iterations without end": (
        lambda text: text.replace("  iterations: 2\n", "  iterations: 1000000000000\n"),
        "co_train.iterations: must be less than or equal to 1000000000, not 1000000000000",
    ),
    "a line break in a path": (
        replaced("  file:\n", '  file: "a\\nb"\n'),
        "split.file: must be one line of text without control characters, not 'a\\nb'",
    ),
    "a NUL in a path": (replaced("  file:\n", '  file: "a\\0b"\n'), "split.file: must be one line of text"),
    "half a character": (replaced("  file:\n", '  file: "\\ud800"\n'), "split.file: must be one line of text"),
    "an empty path": (replaced("  file:\n", '  file: ""\n'), "split.file: must be one line of text"),
    # aliases
    "an unknown alias": (added("more: *nothing"), "not valid YAML: found undefined alias 'nothing'"),
    "aliases that explode": (lambda _: explosion("[{}]"), CONTAINS_TOO_MUCH),
    "merges that explode": (lambda _: explosion("{{<<: [{}]}}"), CONTAINS_TOO_MUCH),
    "a list in itself": (added("more: &more [*more]"), CONTAINS_TOO_MUCH),
    "a section in itself": (added("more: &more {again: *more}"), CONTAINS_TOO_MUCH),
    "a thousand levels": (added("more: " + "{a: " * 1000 + "}" * 1000), "is nested too deeply"),
    "a long value": (
        replaced("threads: 1", f"threads: [{', '.join('1' * 9999)}]"),
        "must be a valid integer, not [1, 1, 1, 1, 1, 1, ...]",
    ),
    # contradictions
    "a schedule shorter than the run": (
        lambda text: text.replace("schedule_iterations: 2", "schedule_iterations: 1"),
        "warm_up.source: schedule_iterations (1) is where the learning rate reaches zero",
    ),
    "embedded and not": (lambda text: text.replace("target: /", "target: embedded #"), "must both be 'embedded'"),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_parameter_file_is_refused_with_its_message(
    project: Path, refusal: Callable[..., str], name: str
) -> None:
    damage, message = TABLE[name]
    damaged = damage((project / "params.yaml").read_text())
    (project / "params.yaml").write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode("utf-8"))
    shown = refusal("make_split")
    assert shown.startswith("error: params.yaml: ")
    assert message in shown
    assert max(map(len, shown.splitlines())) < 1000
    assert not (project / "it-ran").exists()


def test_a_folder_in_its_place_is_refused(project: Path, refusal: Callable[..., str]) -> None:
    (project / "params.yaml").unlink()
    (project / "params.yaml").mkdir()
    assert refusal("make_split") == "error: params.yaml: Is a directory"


def test_anchors_that_only_repeat_a_section_are_welcome(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    source, target = text.index("  source:\n    iterations"), text.index("  target:\n    iterations")
    end = text.index("joint:")
    schedule = text[source:target].replace("  source:", "  source: &schedule")
    (project / "params.yaml").write_text(text[:source] + schedule + "  target: *schedule\n\n" + text[end:])
    run_stage("make_split")


def test_a_file_that_may_not_be_read_is_named(unprivileged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unprivileged / "params.yaml").chmod(0)
    with pytest.raises(SystemExit) as ended:
        run_stage("make_split")
    (unprivileged / "params.yaml").chmod(0o644)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: params.yaml: Permission denied\n"
    assert os.geteuid() != 0
