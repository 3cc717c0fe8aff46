"""Tables of rows: the interval is scipy's, and every committed row is there and can be shown."""

from __future__ import annotations

import csv
import re
import statistics
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from dstc.core.errors import exit_on_user_error
from experiments.__main__ import RESULTS, _gpus, main
from experiments.registry import STUDIES
from experiments.studies import budget
from experiments.tables import Layout, draw_curve, table, values_of

COMMITTED = {  # rows; a study may add some, never lose one
    "budget": 106,
    "carla_camvid": 43,
    "compare": 84,
    "determinism": 20,
    "duplicated_optimizer": 30,
    "fp32": 84,
    "ideas": 25,
    "labels": 9,
    "levers": 48,
    "parts": 21,
    "trials_world_0": 35,
    "variants": 180,
    "versus": 6,
}
SCORES = {"plain": [30.1, 31.7, 29.4, 33.0], "changed": [31.0, 33.1, 29.2, 36.3]}
MADE_UP = pd.DataFrame(
    [{"what": what, "seed": seed, "miou": miou} for what, mious in SCORES.items() for seed, miou in enumerate(mious)]
)


@pytest.mark.parametrize("base_first", [False, True])
def test_the_interval_is_that_of_a_paired_t_test(base_first: bool) -> None:
    sides = [SCORES["changed"], SCORES["plain"]]
    expected = stats.ttest_rel(*(reversed(sides) if base_first else sides)).confidence_interval(0.95)
    shuffled = MADE_UP.sample(frac=1, random_state=0)  # pairs are found by seed, not by place
    shown = table(shuffled, Layout(("what",), base="plain", base_first=base_first))
    (line,) = [line for line in shown.splitlines() if line.startswith("| changed")]
    assert re.findall(r"\[(\S+), (\S+)\]", line) == [(f"{expected.low:+.1f}", f"{expected.high:+.1f}")]
    assert f"| 4 | {statistics.mean(sides[0]):.1f} ± {statistics.stdev(sides[0]):.1f} |" in line


def test_a_study_of_twelve_seeds_has_its_interval() -> None:
    """An earlier table knew Student's t for ten seeds at most."""
    seeds = range(12)
    scores = {
        "plain": [30 + (7 * seed % 12) / 4 for seed in seeds],
        "changed": [31 + (5 * seed % 12) / 3 for seed in seeds],
    }
    rows = [
        {"what": what, "seed": seed, "miou": miou} for what, mious in scores.items() for seed, miou in enumerate(mious)
    ]
    expected = stats.ttest_rel(scores["changed"], scores["plain"]).confidence_interval(0.95)
    shown = table(pd.DataFrame(rows), Layout(("what",), base="plain"))
    (line,) = [line for line in shown.splitlines() if line.startswith("| changed | 12 |")]
    assert f"[{expected.low:+.1f}, {expected.high:+.1f}]" in line


def test_only_seeds_that_both_have_are_paired_and_one_has_no_interval() -> None:
    layout = Layout(("what",), base="plain")
    one = MADE_UP[(MADE_UP["what"] == "plain") | (MADE_UP["seed"] == 1)]
    assert "| changed | 1 | 33.1 | +1.4 |" in table(one, layout)
    none = MADE_UP[(MADE_UP["what"] == "plain") ^ (MADE_UP["seed"] == 1)]
    assert "| changed | 1 | 33.1 |  |" in table(none, layout)


def test_a_curve_is_drawn_over_lines_that_are_numbers(tmp_path: Path) -> None:
    rows = MADE_UP.replace({"what": {"plain": "as it is", "changed": "split.size=20"}})
    more = pd.concat([rows, rows.replace({"what": {"split.size=20": "split.size=50"}})])
    draw_curve(values_of(more, Layout(("what",))), tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")


def test_every_file_of_rows_belongs_to_a_study() -> None:
    assert {path.stem for path in RESULTS.glob("*.csv")} - {"own"} >= set(COMMITTED)
    assert {path.stem for path in RESULTS.glob("*.csv")} <= set(STUDIES)


@pytest.mark.parametrize("name", COMMITTED)
def test_every_committed_row_is_kept_and_shown(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == STUDIES[name].columns
    assert len(rows) >= COMMITTED[name]
    monkeypatch.setattr(sys, "argv", ["experiments", name, "table"])
    main()
    shown = capsys.readouterr().out
    layout = STUDIES[name].layout
    for row in rows:
        cells = list(row.values()) if layout is None else [", ".join(row[column] for column in layout.lines)]
        assert f"| {cells[0]} |" in shown
    if layout is None:
        assert len(shown.splitlines()) == 2 + len(rows)


def test_the_pictures_of_budgets_show_every_method_and_the_ceiling_and_are_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    rows = [
        {"data": "carla_camvid", "seed": seed, "method": method, "network": network, "weights": weights,
         "labels": labels, "iterations": iterations, "total_iterations": iterations + 600, "miou": 30 + seed + labels / 50}
        for (method, network) in [*budget.LINES, ("all_labels", "one")]
        for seed in range(3) for weights in ("last", "averaged") for labels in (5, 15) for iterations in (1000, 2000)
    ]  # fmt: skip
    expected = {
        "total_iterations": [*budget.LINES.values(), budget.CEILING],
        "labels": ["joint training", "DSTC, recommended setting", budget.CEILING],
    }
    for over in budget.AXES:
        for name in ("one.svg", "two.svg"):
            budget.draw(pd.DataFrame(rows), over, tmp_path / name)
        assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
        drawn = (tmp_path / "one.svg").read_text()
        lines = [text for text in [*budget.LINES.values(), budget.CEILING] if f"<!-- {text} -->" in drawn]
        assert lines == expected[over]
    begun = [row for row in rows if row["weights"] == "averaged" and row["labels"] == 15][:1]
    budget.draw(pd.DataFrame(begun), "total_iterations", tmp_path / "one.svg")  # a study that has only begun
    assert f"<!-- {budget.CEILING} (fp32, 1,000 iterations) -->" in (tmp_path / "one.svg").read_text()


@pytest.mark.parametrize(("visible", "slots"), [(None, ["1", "0", "0"]), ("4,7", ["7", "4", "4"])])
def test_gpus_are_those_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, slots: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _gpus("1,0,0") == slots


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compare", "run", "--only", "sed=3"],
            "error: --only 'sed=3': no job of study compare has such a row; the first",
        ),
        (["own", "run", "--seeds", "0,0"], "argument --seeds: '0,0': must be different numbers from 0 on"),
        (["own", "run", "--seeds", "x"], "argument --seeds: 'x': must be different numbers from 0 on"),
        (["own", "run", "--gpus", "x"], "argument --gpus: 'x': must be numbers of GPUs"),
        (
            ["own", "run", "--gpus", "99"],
            "argument --gpus: '99': must be numbers of GPUs, separated by commas; here are",
        ),
    ],
)
def test_what_a_study_cannot_be_asked_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments", *arguments])
    with pytest.raises(SystemExit), exit_on_user_error():
        main()
    assert message in capsys.readouterr().err
