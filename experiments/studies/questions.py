"""Questions that everybody asks, each a few settings over seeds of training and split. `own` asks them of one's own data."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dstc.core.errors import UserError
from dstc.presets import parse_settings
from experiments.studies.compare import AS_THEN
from experiments.studies.variants import SWITCHED_OFF, WHOLE
from experiments.study import SCORED, Job, Study, scores_in_one_row
from experiments.tables import Layout
from experiments.tasks import Run

NETWORKS = ("warm_up_source", "warm_up_target", *SCORED)
AS_IT_IS, NO_WEIGHTS = "as it is", "co_train.class_weights=none"
Groups = Mapping[str, Mapping[str, Any]]


def question(
    about: str,
    groups: Groups,
    base: str | None,
    seeds: Sequence[int] = (0, 1, 2),
    more: Sequence[str] = (),
    always: Mapping[str, Any] = AS_THEN,
) -> Study:
    def jobs() -> Iterator[Job]:
        for group, changes in groups.items():
            for seed in seeds:
                run = Run({**always, **changes, "seed": seed, "split.seed": seed})
                yield Job(run, {"": {"group": group, "seed": seed}}, scores_in_one_row)

    layout = Layout(("group",), measures=NETWORKS, base=base, compared="average")
    return Study(about, ("group", "seed", *NETWORKS, *more), layout, jobs)


def own(settings: Sequence[str], seeds: Sequence[int]) -> Study:
    """What a user asks: settings as typed, each `key=value ...` or `parts`, against params.yaml as it is."""
    groups: dict[str, Mapping[str, Any]] = {AS_IT_IS: {}}
    for setting in settings:
        groups |= SWITCHED_OFF if setting == "parts" else {setting: parse_settings(_words(setting))}
    about = "settings of yours against params.yaml as it is"
    return question(about, groups, AS_IT_IS, seeds, ("minutes", "commit", "digest"), always={})


def _words(setting: str) -> list[str]:
    try:
        return shlex.split(setting)
    except ValueError as error:
        raise UserError(f"'{setting}': must be key=value ... as a shell takes it ({error})") from None


STUDIES = {
    "labels": question(
        "mIoU over the number of labels", {str(size): {"split.size": size} for size in (20, 50, 200)}, None
    ),
    "parts": question("what each part of the method brings, as committed", {WHOLE: {}, **SWITCHED_OFF}, WHOLE),
    "versus": question(
        "class weights or none", {"as committed": {}, NO_WEIGHTS: parse_settings([NO_WEIGHTS])}, "as committed"
    ),
    "own": own((), ()),
}
