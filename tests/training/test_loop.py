import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dstc.core.errors import UserError
from dstc.training import loop
from dstc.training.learner import Learner
from dstc.training.loop import Plan, in_short, train
from dstc.training.state import TrainingState


def run(iterations: int, validate_every: int = 3, losses: Iterator[float] | None = None) -> tuple[TrainingState, list]:  # type: ignore[type-arg]
    """Train nothing, and note what is asked for."""
    values, asked = losses or itertools.count(1.0), []

    def step(iteration: int, batch: str, rate: float) -> dict[str, torch.Tensor]:
        asked.append((iteration, batch, rate))
        return {"loss": torch.tensor(next(values))}

    def validate(iteration: int) -> dict[str, float]:
        asked.append(("validate", iteration))
        return {"miou": 50.0 + iteration}

    state = TrainingState([])
    plan = Plan(
        name="test",
        iterations=iterations,
        learning_rate=lambda iteration: 1 / (1 + iteration),
        batches=lambda first: (f"batch {i}" for i in itertools.count(first)),
        step=step,
        validate=validate,
        validate_every=validate_every,
    )
    train(plan, state, device=torch.device("cpu"))
    return state, asked


def test_every_iteration_gets_its_batch_and_its_rate_and_validation_comes_in_between_and_at_the_end() -> None:
    _, asked = run(4)
    assert asked == [
        (0, "batch 0", 1.0),
        (1, "batch 1", 1 / 2),
        (2, "batch 2", 1 / 3),
        ("validate", 3),
        (3, "batch 3", 1 / 4),
        ("validate", 4),
    ]


def test_an_end_that_is_due_for_validation_validates_once() -> None:
    curves, _ = run(6)
    assert curves.validation.rows == [{"iteration": 3, "miou": 53.0}, {"iteration": 6, "miou": 56.0}]


def test_curves_have_about_a_hundred_rows_and_the_last_iteration() -> None:
    curves, _ = run(250, validate_every=1000)
    assert len(curves.losses.rows) == 125
    assert curves.losses.rows[0] == {"iteration": 2, "learning_rate": 1 / 2, "loss": 1.5}
    assert curves.losses.rows[-1]["iteration"] == 250


def test_the_bar_tells_each_learners_loss_and_the_last_validation_of_the_averages_if_there_are_any() -> None:
    learners = [Learner(name, nn.Linear(1, 1), torch.optim.SGD([torch.zeros(1)])) for name in ("one", "other")]
    learners[0].losses = {"one/a": torch.zeros(()), "one/b": torch.zeros(())}
    learners[1].losses = {"other/a": torch.zeros(())}
    state = TrainingState(learners)
    assert in_short(state) == ""
    state.losses.rows.append(
        {"iteration": 1, "learning_rate": 9, "one/a": 1.0, "one/b": 0.25, "other/a": 3.0, "one/c": 7.0}
    )
    assert in_short(state) == "one 1.250, other 3.000"
    state.validation.rows.append({"iteration": 1, "one_miou": 30.0, "disagreement": 7.0})
    assert in_short(state) == "one 1.250, other 3.000, mIoU 30.0"
    state.validation.rows.append({"iteration": 2, "one_miou": 30.0, "one_ema_miou": 31.0, "other_ema_miou": 20.04})
    assert in_short(state) == "one 1.250, other 3.000, mIoU 31.0 20.0"


def test_a_loss_that_is_not_finite_ends_the_run_at_its_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"iteration 3: the loss loss is nan"):
        run(5, losses=iter([1.0, 1.0, float("nan"), 1.0]))


def test_a_batch_is_asked_for_while_the_step_before_may_still_be_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of a step is fetched, which waits for it, after its successor's batch and before that is begun."""
    done: list[str] = []
    checked = loop.finite_losses

    def fetch(*arguments: Any, iteration: int, **settings: Any) -> dict[str, float]:
        done.append(f"fetched {iteration - 1}")
        return checked(*arguments, iteration=iteration, **settings)

    def batches(first: int) -> Iterator[int]:
        for number in itertools.count(first):
            done.append(f"asked {number}")
            yield number

    def step(iteration: int, batch: int, _: float) -> dict[str, torch.Tensor]:
        done.append(f"begun {iteration} with {batch}")
        return {"loss": torch.tensor(1.0)}

    monkeypatch.setattr(loop, "finite_losses", fetch)
    plan = Plan("test", 3, lambda _: 1.0, batches, step, lambda _: {}, validate_every=9)
    train(plan, TrainingState([]), device=torch.device("cpu"))
    assert done == [
        *("asked 0", "begun 0 with 0"),
        *("asked 1", "fetched 0", "begun 1 with 1"),
        *("asked 2", "fetched 1", "begun 2 with 2"),
        "fetched 2",
    ]
