"""The table of `make bench`: its figures and its limits. The measurements themselves are no tests."""

import copy
import importlib
import os
from pathlib import Path

import pytest
import torch

from bench import gpu, one_step, scale, straightforward
from bench.__main__ import GROUPS, main
from bench.clock import cpu_milliseconds, slope
from bench.one_step import Case
from bench.rows import HEADS, Row, markdown, share_of, slope_of, times_as_fast, times_as_much
from dstc.co_training.trainer import CoTrainer
from dstc.core.index import DomainIndex
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.data.loaders import ValidationImages
from dstc.method.domain_specific_initialization import Branches
from dstc.training.context import TrainingContext


def test_a_figure_that_misses_its_limit_says_so_and_one_that_keeps_it_does_not() -> None:
    rows = [
        times_as_fast("a", 70, 2, "ms", at_least=35),
        times_as_fast("b", 69, 2, "ms", at_least=35),
        times_as_fast("c", 1, 2, "ms"),
        share_of("d", 10, 2, "ms", at_most=0.2),
        share_of("e", 10, 2.1, "ms", at_most=0.2),
        slope_of("f", 1.1, "1 s", "4 s", at_most=1.1),
        slope_of("g", 1.2, "1 s", "4 s", at_most=1.1),
        times_as_much("h", 2e9, 2.2e9, at_most=1.15),
        times_as_much("i", 2e9, 2.4e9, at_most=1.15),
    ]
    assert [row.met for row in rows] == [True, False, True, True, False, True, False, True, False]
    lines = markdown(rows).splitlines()
    assert [line.count("|") for line in lines] == [len(HEADS) + 1] * 11
    assert ["MISSED" in line for line in lines[2:]] == [not row.met for row in rows]
    assert "35.0x" in lines[2] and "0.210" in lines[6] and "slope 1.20" in lines[8]


def test_a_cost_in_proportion_has_slope_one_and_a_square_one_two() -> None:
    assert slope([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_works_take_turns_and_their_first_call_is_not_counted() -> None:
    calls: list[str] = []
    costs = cpu_milliseconds((lambda: calls.append("a"), 1), (lambda: calls.append("b"), 2), rounds=2)
    assert "".join(calls) == "ab" + "abb" * 2
    assert len(costs) == 2 and all(cost >= 0 for cost in costs)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_rows_and_says_what_it_measures(group: str) -> None:
    module = importlib.import_module(f"bench.{group}")
    assert callable(module.rows)
    assert len((module.__doc__ or "").split()) > 20


def test_the_step_written_down_straightforwardly_is_ours() -> None:
    case = Case(64, backbone="narrow_resnet", device="cpu")
    chosen = one_step.params_of(case)
    context, batch = TrainingContext.of(chosen, CITYSCAPES_19), one_step.random_batch(64, 2)
    networks = tuple(context.networks.new() for _ in range(2))
    for parameter in networks[1].parameters():
        parameter.data *= 1.01  # two that differ
    copies = tuple(copy.deepcopy(network) for network in networks)
    normalized = {name: (context.on_device(crops).image, crops[1]) for name, crops in batch.items()}

    choices: dict[str, torch.Tensor] = {}

    class Recorded(CoTrainer):
        def choose(self, iteration: int, what: str, label: torch.Tensor) -> torch.Tensor:
            choices[what] = super().choose(iteration, what, label)
            return choices[what]

    val = ValidationImages(DomainIndex("target_val", (), (), {}, ()), [])
    trainer = Recorded(Branches(*networks), context=context, settings=chosen.co_train, val=val)
    values = [value.item() for value in trainer.step(1, batch, 0.0, Path("nowhere")).values()]
    optimizers = tuple(torch.optim.SGD(network.parameters(), lr=0.0) for network in copies)
    theirs = straightforward.step(
        copies,
        optimizers,
        normalized["source"],
        normalized["labeled_target"],
        normalized["unlabeled_target"][0],
        alignment_weight=chosen.co_train.alignment_weight,
        choose=lambda what, number, _: choices[what][number].nonzero().flatten().tolist(),
    )
    first = values[0] + chosen.co_train.alignment_weight * values[1]
    assert theirs == pytest.approx([first, *values[2:]], rel=1e-4)
    for mine, other in zip(networks, copies, strict=True):
        for (name, parameter), (_, same) in zip(mine.named_parameters(), other.named_parameters(), strict=True):
            if same.grad is not None and parameter.requires_grad:
                assert torch.allclose(parameter.grad, same.grad, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("kind", ["co_training", "supervised", "straightforward"])
def test_a_case_is_measured(kind: str) -> None:
    costs = one_step.measure(Case(64, backbone="narrow_resnet", kind=kind, device="cpu"))
    assert costs.keys() == {"seconds", "first", "bytes", "whole"}  # bytes mean nothing in a process that did more
    assert costs["seconds"] > 0


def test_what_runs_on_a_gpu_runs_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    monkeypatch.delenv("DSTC_REAL_DATA", raising=False)
    monkeypatch.setattr(gpu, "ENOUGH", 10**9)  # seconds: however busy this machine is
    size = gpu.Size(
        "narrow_resnet", crop=64, transformer="dinov2_small", patches=28, images=(2,), steps=1, trained=2, matrix=32
    )
    found = list(gpu.rows_on(torch.device("cpu"), size, compiled=False))
    whats = [row.what for row in found if isinstance(row, Row)]
    small, transformer = "co-training, narrow_resnet, 2 + 2 + 2", "co-training, dinov2_small, 2 + 2 + 2"
    timed = [f"{small}, bf16", f"{small}, bf16, NCHW", f"{transformer}, bf16", f"{small}, fp32", f"{transformer}, fp32"]
    for what in (*timed, "warm-up, narrow_resnet, 2, bf16"):
        assert f"{what}: steps per second" in whats
        assert f"{what}: peak memory" in whats
    assert any(what.startswith(f"{small}, bf16: waiting for data, ") for what in whats)
    for precision in ("bf16", "fp32"):
        assert f"supervised loss of 2 steps on the built-in data set, {precision}: the first 1, the last 1" in whats
    (table,) = (text for text in found if not isinstance(text, Row) and "convolution" in text)
    assert "| share |" in table


def test_what_does_not_fit_into_five_minutes_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "ENOUGH", -1)
    found = list(gpu.rows_on(torch.device("cpu"), gpu.Size(images=(2,), matrix=32)))
    assert "parts were left out" in str(found[-1])
    assert len(found) == 2


def test_nchw_is_that_all_through() -> None:
    case = Case(64, backbone="narrow_resnet", device="cpu", channels_last=False)
    params = one_step.params_of(case)
    step, learners = one_step.step_of(case, TrainingContext.of(params, CITYSCAPES_19), params)
    seen: list[bool] = []
    network = learners[0].network.get_submodule("backbone")
    network.register_forward_pre_hook(lambda _, images: seen.append(images[0].is_contiguous()))
    step(one_step.random_batch(64, 2))
    assert seen and all(seen)
    assert all(parameter.is_contiguous() for parameter in network.parameters())


@pytest.mark.skipif("DSTC_REAL_DATA" not in os.environ, reason="DSTC_REAL_DATA names no folder of real images")
def test_real_images_are_enlarged_with_their_labels_for_the_gpu() -> None:
    scenes = gpu.Scenes(crop=512)
    assert scenes.origin == "real images"
    for images, labels in scenes.batch(0, 2).values():
        assert images.shape == (2, 512, 512, 3)
        assert labels.shape == (2, 512, 512)
        assert 3 < len(labels.unique()) <= 20  # train ids and void, of a street


def test_the_work_of_a_step_is_that_of_the_issue() -> None:
    case = Case(512, device="cpu")
    context = TrainingContext.of(one_step.params_of(case), CITYSCAPES_19)
    work = gpu.PASSES["co_training"] * gpu.forward_flops(context, case)
    assert work == pytest.approx(13.13e12, rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "gpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "there is no GPU that torch can use here" in capsys.readouterr().out.splitlines()[-1]


def test_results_that_are_kept_belong_to_a_group() -> None:
    kept = {path.stem for path in (Path(importlib.import_module("bench").__file__ or "").parent / "results").glob("*")}
    assert kept <= set(GROUPS)


def test_what_is_measured_of_many_images_runs_with_few() -> None:
    found = list(scale.rows_of((20, 40)))
    assert len(found) == 2 * len(scale.STEPS)
    assert all("(20)" in row.straightforward and "(40)" in row.ours for row in found)
