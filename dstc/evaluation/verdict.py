"""Whether co-training was worth it: its scores minus those of joint training, in numbers and in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dstc.core.places import CO_TRAIN
from dstc.evaluation.rows import AVERAGE, BRANCHES, JOINT

COMPARED = {JOINT: "joint training", "warm_up_target": "the target warm-up"}

SPREAD = 1.2
"""Points: the standard deviation, over five seeds and worlds of the built-in data set, of the average's mIoU minus joint
training's, both with class weights (experiments/results/compare.csv; a test recomputes it)."""
NAMED_CLASSES = 2  # on either side


def differences(miou: Mapping[str, float | None]) -> dict[str, float]:
    """Co-training minus joint training, in points of mIoU by row; empty where one of them is missing or undefined."""
    joint, average, better = miou.get(JOINT), miou.get(AVERAGE), _better_branch(miou)
    if joint is None or average is None or better is None:
        return {}
    return {
        "average_minus_joint": round(average - joint, 2),
        "better_branch_minus_joint": round(better[1] - joint, 2),
    }


def verdict(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about the rows of one protocol, as metrics/scores.json holds them; the first one stands alone."""
    miou = {row: scores["miou"] for row, scores in rows.items()}
    points, better = differences(miou), _better_branch(miou)
    if miou[AVERAGE] is None or better is None:
        return ["Co-training cannot be compared: mIoU is undefined, for no val pixel has a class."]
    in_short = _in_short(miou[AVERAGE], miou)
    if not points:
        return [
            in_short,
            "Joint training was left out (joint.iterations is 0), so this run does not say whether co-training is ahead "
            "of it.",
        ]
    name, score = better
    average, branch = points.values()
    return [
        in_short,
        f"The better branch, the {name.replace('_', '-')} one ({CO_TRAIN / name}.pt), reaches {_percent(score)}, "
        f"{_compared(branch)} joint training.",
        *_by_class(rows[AVERAGE]["iou"], rows[JOINT]["iou"]),
        f"One seed: on the built-in data set, the average's lead or lag varies by {SPREAD} points from seed to seed "
        f"(standard deviation){', so this run alone does not decide it' if abs(average) < 2 * SPREAD else ''}.",
    ]


def _in_short(average: float, miou: Mapping[str, float | None]) -> str:
    others = [(name, other) for row, name in COMPARED.items() if (other := miou.get(row)) is not None]
    compared = (f", {_compared(round(average - other, 2))} {name} ({_percent(other)})" for name, other in others)
    return f"The average of both branches has {_percent(average)} mIoU{''.join(compared)}."


def _better_branch(miou: Mapping[str, float | None]) -> tuple[str, float] | None:
    known = {row: value for row in BRANCHES if (value := miou.get(row)) is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None


def _by_class(average: Mapping[str, float | None], joint: Mapping[str, float | None]) -> Iterator[str]:
    known = {name: value for name, value in average.items() if value is not None and joint[name] is not None}
    points = sorted(((value - (joint[name] or 0), name) for name, value in known.items()), key=lambda pair: -pair[0])
    ahead = [(by, name) for by, name in points if by >= 0.05][:NAMED_CLASSES]
    behind = [(by, name) for by, name in reversed(points) if by <= -0.05][:NAMED_CLASSES]
    parts = [
        f"furthest {side} in " + " and ".join(f"{name} ({by:+.1f})" for by, name in classes)
        for side, classes in (("ahead", ahead), ("behind", behind))
        if classes
    ]
    if parts:
        yield f"By class, the average is {', '.join(parts)}."


def _compared(points: float) -> str:
    if abs(points) < 0.05:
        return "level with"
    return f"{abs(points):.1f} {'above' if points > 0 else 'below'}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
