"""One whole step: which loss goes to which branch, and what each switch does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from dstc.co_training.step import CLASS_MIX_DRAW, PASTE, Method, co_training_step
from dstc.core.batches import LabeledBatch
from dstc.method.batches import CoTrainingBatch
from dstc.method.class_mix import sample_half_of_classes
from dstc.method.domain_specific_initialization import Branches
from dstc.training.learner import Learner
from tests.method import slow

K = 5
IN_TURN = Method(teachers_run="in_turn")


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, K, 1, bias=False))


def labeled(seed: int, count: int = 2) -> LabeledBatch:
    return LabeledBatch(slow.random_tensor(seed, count, 3, 6, 6), slow.random_label(seed, count, 6, 6, classes=K))


def batch(unlabeled: int = 2) -> CoTrainingBatch:
    return CoTrainingBatch(labeled(1), labeled(2), without_labels(unlabeled) if unlabeled else None)


def without_labels(count: int) -> LabeledBatch:
    """Images without padding."""
    return LabeledBatch(slow.random_tensor(3, count, 3, 6, 6), torch.zeros(count, 6, 6, dtype=torch.uint8))


def learner(name: str, branch: nn.Module) -> Learner:
    """One whose steps change nothing, so that what it saw can be looked at afterwards."""
    return Learner(name, branch, torch.optim.SGD(branch.parameters(), lr=0.0))


def images_of(part: LabeledBatch | None) -> Tensor:
    assert part is not None
    return part.image


def choose(what: str, label: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(len(what))
    return sample_half_of_classes(label, K, generator=generator)


@dataclass
class Run:
    """A step's losses by branch, what it showed, and every forward pass in order: (branch, "learns" or "labels")."""

    method: Method = IN_TURN
    batch: CoTrainingBatch = field(default_factory=batch)
    choose: Callable[[str, Tensor], Tensor] = choose
    augment: Callable[[str, Tensor], Tensor] | None = None
    class_weights: Tensor | None = None
    teachers: Branches | None = None

    def __post_init__(self) -> None:
        self.branches = Branches(network(0), network(1))
        self.passes: list[tuple[str, str]] = []
        self.logits: list[Tensor] = []
        for name in ("source_biased", "target_biased"):
            getattr(self.branches, name).register_forward_hook(self._note(name))
        more = {"augment": self.augment} if self.augment else {}
        learners = [learner(name, branch) for name, branch in vars(self.branches).items()]
        self.shown = co_training_step(
            *learners,
            self.batch,
            self.method,
            teachers=self.teachers or self.branches,
            choose=self.choose,
            class_weights=self.class_weights,
            **more,
        )
        self.observed = {name: value.item() for one in learners for name, value in one.observed.items()}
        self.source_biased, self.target_biased = (
            {name.removeprefix(f"{one.name}/"): value.item() for name, value in one.losses.items()} for one in learners
        )

    def _note(self, name: str):  # type: ignore[no-untyped-def]
        def hook(_: nn.Module, __: object, logits: Tensor) -> None:
            self.passes.append((name, "learns" if torch.is_grad_enabled() else "labels"))
            self.logits.append(logits.detach())

        return hook

    def seen(self, name: str) -> tuple[Tensor, Tensor]:
        shown = self.shown[name]
        assert isinstance(shown, LabeledBatch)
        return shown.image, shown.label


def mixed_slowly(images: Tensor, labels: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """ClassMix by loops: entry i holds the pasted classes of image i over image i-1."""
    classes = slow.listed(choose(what, labels))
    pairs = [slow.paste((images[i], labels[i]), (images[i - 1], labels[i - 1]), classes[i]) for i in range(len(images))]
    return torch.stack([image for image, _ in pairs]), torch.stack([label for _, label in pairs])


def test_every_loss_of_a_step_matches_a_step_written_with_loops() -> None:
    run, seen = Run(), batch()
    unlabeled = images_of(seen.unlabeled_target)
    first, second = network(0), network(1)

    def labeled_by(teacher: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            logits = teacher.eval()(images)
        teacher.train()
        return logits

    logits = first(seen.source.image)
    source = slow.cross_entropy(logits, seen.source.label)
    alignment = slow.alignment(logits, labeled_by(second, seen.source.image), seen.source.label)
    target = slow.cross_entropy(first(seen.labeled_target.image), seen.labeled_target.label)
    images, labels = mixed_slowly(
        unlabeled,
        slow.pseudo_label(labeled_by(second, unlabeled)),
        "class_mix_source_biased",
    )
    assert run.source_biased == pytest.approx(
        {
            "source_cross_entropy": source,
            "alignment": alignment,
            "target_cross_entropy": target,
            "cross_supervision": slow.cross_entropy(first(images), labels),
        },
        rel=1e-4,
    )
    classes = slow.listed(choose(PASTE, seen.source.label))
    pasted = [
        slow.paste(
            (seen.source.image[i], seen.source.label[i]),
            (seen.labeled_target.image[i], seen.labeled_target.label[i]),
            classes[i],
        )
        for i in range(2)
    ]
    combined = slow.cross_entropy(
        second(torch.stack([image for image, _ in pasted])), torch.stack([label for _, label in pasted])
    )
    images, labels = mixed_slowly(unlabeled, slow.pseudo_label(labeled_by(first, unlabeled)), "class_mix_target_biased")
    assert run.target_biased == pytest.approx(
        {"combined_cross_entropy": combined, "cross_supervision": slow.cross_entropy(second(images), labels)}, rel=1e-4
    )


def test_a_branch_gets_the_gradient_of_its_own_losses_alone() -> None:
    run, alone = Run(), network(1)
    for image, label in (run.seen("combination_2"), run.seen("mixed_for_target_biased")):
        nn.functional.cross_entropy(alone(image), label.long(), ignore_index=slow.VOID).backward()
    for own, expected in zip(run.branches.target_biased.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad)


def test_in_turn_each_teacher_labels_right_before_its_labels_are_needed() -> None:
    first, second = "source_biased", "target_biased"
    assert Run().passes == [
        (second, "labels"), (first, "learns"), (first, "learns"), (second, "labels"), (first, "learns"),
        (second, "learns"), (first, "labels"), (second, "learns"),
    ]  # fmt: skip


def test_first_runs_all_teachers_before_anything_is_learnt() -> None:
    run = Run(replace(IN_TURN, teachers_run="first"))
    assert [kind for _, kind in run.passes] == ["labels"] * 3 + ["learns"] * 5
    assert [branch for branch, kind in run.passes if kind == "labels"] == ["target_biased"] * 2 + ["source_biased"]


def test_first_labels_with_the_statistics_from_the_start_of_the_step() -> None:
    images = images_of(batch().unlabeled_target)
    with torch.no_grad():
        start = network(0).eval()(images).argmax(1)
    early, late = Run(replace(IN_TURN, teachers_run="first")), Run()
    assert torch.equal(early.shown["pseudo_label_by_source_biased"], start)
    assert not torch.equal(late.shown["pseudo_label_by_source_biased"], start)  # after three student passes


@pytest.mark.parametrize("teachers_run", ["in_turn", "first"])
def test_without_alignment_no_teacher_sees_the_source(teachers_run: str) -> None:
    run = Run(replace(IN_TURN, alignment_weight=0.0, teachers_run=teachers_run))
    assert "alignment" not in run.source_biased
    assert run.passes.count(("target_biased", "labels")) == 1


def test_alignment_can_count_void_as_the_released_code_does() -> None:
    assert Run(replace(IN_TURN, alignment_counts_void=True)).source_biased["alignment"] != pytest.approx(
        Run().source_biased["alignment"], rel=1e-3
    )


@pytest.mark.parametrize("teachers_run", ["in_turn", "first"])
def test_without_cross_supervision_the_unlabeled_images_are_not_looked_at(teachers_run: str) -> None:
    run = Run(replace(IN_TURN, cross_supervision=False, teachers_run=teachers_run))
    assert list(run.source_biased) == ["source_cross_entropy", "alignment", "target_cross_entropy"]
    assert list(run.target_biased) == ["combined_cross_entropy"]
    assert run.passes.count(("target_biased", "labels")) == 1
    assert ("source_biased", "labels") not in run.passes


@pytest.mark.parametrize("teachers_run", ["in_turn", "first"])
def test_where_every_target_image_is_labeled_there_is_no_cross_supervision(teachers_run: str) -> None:
    with_none = Run(replace(IN_TURN, teachers_run=teachers_run), batch(unlabeled=0))
    off = Run(replace(IN_TURN, cross_supervision=False, teachers_run=teachers_run))
    assert with_none.source_biased == off.source_biased
    assert with_none.target_biased == off.target_biased


def test_without_class_mix_the_student_sees_whole_images_with_the_others_labels() -> None:
    asked: list[str] = []

    def noting(what: str, label: Tensor) -> Tensor:
        asked.append(what)
        return choose(what, label)

    run = Run(replace(IN_TURN, class_mix=False), choose=noting)
    assert asked == [PASTE]
    for student, teacher in (("source_biased", "target_biased"), ("target_biased", "source_biased")):
        image, label = run.seen(f"mixed_for_{student}")
        assert image is images_of(run.batch.unlabeled_target)
        assert label is run.shown[f"pseudo_label_by_{teacher}"]


def test_without_class_mix_one_unlabeled_image_is_enough() -> None:
    run = Run(replace(IN_TURN, class_mix=False), batch(unlabeled=1))
    assert run.source_biased["cross_supervision"] > 0


def test_whole_images_gives_both_branches_data_combination_1() -> None:
    run = Run(replace(IN_TURN, combination="whole_images"))
    assert list(run.target_biased) == ["source_cross_entropy", "target_cross_entropy", "cross_supervision"]
    other = network(1)
    for name, part in (("source", run.batch.source), ("target", run.batch.labeled_target)):
        expected = slow.cross_entropy(other(part.image), part.label)
        assert run.target_biased[f"{name}_cross_entropy"] == pytest.approx(expected, rel=1e-4)
    assert "combination_2" not in run.shown


@pytest.mark.parametrize(("batch_norm", "counted"), [("running", 2), ("batch", 4)])
def test_a_teacher_with_batch_statistics_counts_its_labeling_as_training(batch_norm: str, counted: int) -> None:
    run = Run(replace(IN_TURN, teacher_batch_norm=batch_norm))
    assert run.branches.target_biased[1].num_batches_tracked == counted


def test_augmentation_changes_what_the_student_sees_and_not_the_labels() -> None:
    method = replace(IN_TURN, teachers_run="first")  # or else the student's statistics would reach what it labels
    plain, brighter = Run(method), Run(method, augment=lambda student, images: images + len(student))
    for student in ("source_biased", "target_biased"):
        image, label = plain.seen(f"mixed_for_{student}")
        augmented, same = brighter.seen(f"mixed_for_{student}")
        assert torch.equal(augmented, image + len(student))
        assert torch.equal(same, label)


def test_what_was_seen_is_kept_for_pictures_and_carries_no_gradient() -> None:
    seen = Run().shown
    branches = ("source_biased", "target_biased")
    assert seen.keys() == {
        "combination_2",
        *(f"pseudo_label_by_{branch}" for branch in branches),
        *(f"mixed_for_{branch}" for branch in branches),
    }
    for what in seen.values():
        parts = (what.image, what.label) if isinstance(what, LabeledBatch) else (what,)
        assert not any(part.requires_grad for part in parts)


def test_classes_are_chosen_by_name_so_that_no_draw_depends_on_another() -> None:
    asked: list[str] = []

    def noting(what: str, label: Tensor) -> Tensor:
        asked.append(what)
        return choose(what, label)

    Run(choose=noting)
    assert asked == [CLASS_MIX_DRAW["source_biased"], PASTE, CLASS_MIX_DRAW["target_biased"]]


def test_one_graph_is_alive_at_a_time() -> None:
    """Whenever a network starts a pass, nothing that an earlier pass saved for its gradient is still held."""
    alive: weakref.WeakSet[Saved] = weakref.WeakSet()
    held_at_start, held_at_most = [], []

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            alive.add(self)
            held_at_most.append(len(alive))

    branches = Branches(network(0), network(1))
    for branch in (branches.source_biased, branches.target_biased):
        branch.register_forward_pre_hook(lambda *_: held_at_start.append(len(alive)))
    learners = [learner(name, branch) for name, branch in vars(branches).items()]
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        co_training_step(*learners, batch(), IN_TURN, teachers=branches, choose=choose)
    assert held_at_start == [0] * 8
    assert max(held_at_most) > 0


def test_the_logits_of_a_pass_are_gone_when_the_next_begins() -> None:
    logits: list[weakref.ref[Tensor]] = []
    held: list[int] = []
    branches = Branches(network(0), network(1))
    for branch in (branches.source_biased, branches.target_biased):
        branch.register_forward_pre_hook(lambda *_: held.append(sum(one() is not None for one in logits)))
        branch.register_forward_hook(lambda _, __, out: logits.append(weakref.ref(out)))
    learners = [learner(name, branch) for name, branch in vars(branches).items()]
    co_training_step(*learners, batch(), IN_TURN, teachers=branches, choose=choose)
    assert held == [0] * 8


def test_a_source_crop_that_is_void_throughout_costs_zero_and_spoils_nothing() -> None:
    void = torch.full((2, 6, 6), slow.VOID, dtype=torch.uint8)
    run = Run(batch=replace(batch(), source=LabeledBatch(labeled(1).image, void)))
    assert run.source_biased["source_cross_entropy"] == run.source_biased["alignment"] == 0
    assert torch.equal(run.seen("combination_2")[1], run.batch.labeled_target.label)
    gradients = [parameter.grad for parameter in run.branches.source_biased.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_batches_of_one_work_for_the_labeled_data() -> None:
    one = CoTrainingBatch(labeled(1, 1), labeled(2, 1), without_labels(2))
    run = Run(batch=one)
    assert all(value > 0 for value in [*run.source_biased.values(), *run.target_biased.values()])


def test_teachers_of_their_own_label_and_are_aligned_to_and_learn_nothing() -> None:
    teachers = Branches(network(2), network(3))
    run = Run(teachers=teachers)
    assert all(parameter.grad is None for one in vars(teachers).values() for parameter in one.parameters())
    with torch.no_grad():
        labels = teachers.target_biased.eval()(images_of(run.batch.unlabeled_target)).argmax(1)
        preferred = teachers.target_biased(run.batch.source.image)
        own = network(0)(run.batch.source.image)
    assert torch.equal(run.shown["pseudo_label_by_target_biased"].long(), labels)
    expected = slow.alignment(own, preferred, run.batch.source.label)
    assert run.source_biased["alignment"] == pytest.approx(expected, rel=1e-5)


def test_padding_of_unlabeled_images_is_never_learnt_from() -> None:
    padded = without_labels(2)
    padded.label[:, 3:] = slow.VOID
    run = Run(batch=replace(batch(), unlabeled_target=padded))
    for teacher in ("source_biased", "target_biased"):
        assert (run.shown[f"pseudo_label_by_{teacher}"][:, 3:] == slow.VOID).all()
    for student in ("source_biased", "target_biased"):
        image, label = run.seen(f"mixed_for_{student}")
        assert (label[:, 3:] == slow.VOID).all()  # nothing is pasted from padding, and no padding is labeled
        assert torch.equal(image[:, :, 3:], padded.image.roll(1, 0)[:, :, 3:])


def test_cross_supervision_weighs_as_the_share_of_pixels_its_teacher_is_sure_of() -> None:
    plain, weighted = Run(), Run(replace(IN_TURN, confidence_threshold=0.3))
    with torch.no_grad():  # B2 labels for B1 before it has learnt anything in this step
        logits = network(1).eval()(images_of(plain.batch.unlabeled_target))
    share = (logits.softmax(1).amax(1) > 0.3).float().mean().item()
    assert 0 < share < 1
    losses = [run.source_biased["cross_supervision"] for run in (weighted, plain)]
    assert losses[0] / losses[1] == pytest.approx(share, rel=1e-4)
    assert weighted.target_biased["cross_supervision"] < plain.target_biased["cross_supervision"]
    assert plain.observed == {}
    assert weighted.observed["target_biased/confident_share"] == pytest.approx(100 * share, rel=1e-6)
    ratio = weighted.target_biased["cross_supervision"] / plain.target_biased["cross_supervision"]
    assert weighted.observed["source_biased/confident_share"] == pytest.approx(100 * ratio, rel=1e-4)


def test_class_weights_weigh_every_cross_entropy_and_not_the_alignment() -> None:
    weights = torch.tensor([1.5, 50.0, 2.0, 7.0, 3.0])
    plain, weighted = Run(), Run(class_weights=weights)
    for branch in ("source_biased", "target_biased"):
        for name, loss in getattr(plain, branch).items():
            same = loss == pytest.approx(getattr(weighted, branch)[name], rel=1e-6)
            assert same == (name == "alignment"), name
    logits = weighted.logits[weighted.passes.index(("source_biased", "learns"))]  # the first of them, on the source
    label = weighted.batch.source.label.long()
    expected = nn.functional.cross_entropy(logits, label, weight=weights, ignore_index=255)
    assert weighted.source_biased["source_cross_entropy"] == pytest.approx(expected.item(), rel=1e-5)
