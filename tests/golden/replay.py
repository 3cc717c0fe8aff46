"""Two co-training steps on the recorded batch with the project's own step; what happens comes back as it was recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from dstc.co_training.step import CLASS_MIX_DRAW, PASTE, Method, Seen, co_training_step
from dstc.core.batches import LabeledBatch
from dstc.method.batches import CoTrainingBatch
from dstc.method.class_mix import paste_mask
from dstc.method.domain_specific_initialization import Branches
from dstc.method.target_preferred_alignment import class_prototypes, class_sums
from dstc.models.segmentation import SegmentationNetwork, build_network
from dstc.training.learner import Learner
from dstc.training.optimizer import build_optimizer, poly_learning_rate, set_learning_rate
from tests.golden.duplicating_sgd import DuplicatingSGD
from tests.golden.recorded import NUM_CLASSES, arrays, chosen_classes, load, own_label, own_name, recorded_label

NETS = {"net1": "source_biased", "net2": "target_biased"}
LOSSES = {
    "source_ce": "source_biased/source_cross_entropy",
    "alignment": "source_biased/alignment",
    "target_ce": "source_biased/target_cross_entropy",
    "classmix_net1": "source_biased/cross_supervision",
    "paste_net2": "target_biased/combined_cross_entropy",
    "classmix_net2": "target_biased/cross_supervision",
}
# recorded name: (who labels, for whom)
MIXES = {"cm1": ("target_biased", "source_biased"), "cm2": ("source_biased", "target_biased")}
KEPT_WEIGHTS = ("conv1.weight", "layer4.0.conv3.weight", "layer6.conv2d_list.0.weight", "layer6.conv2d_list.0.bias")
KEPT_STATISTICS = (
    "bn1.running_mean",
    "bn1.running_var",
    "layer4.0.bn3.running_mean",
    "layer4.0.bn3.running_var",
    "bn1.num_batches_tracked",
)


def tiny_network(recorded_as: str) -> SegmentationNetwork:
    """The recorded tiny network with its weights before the first step."""
    network = build_network(
        "narrow_resnet",
        NUM_CLASSES,
        stride_on="first_conv",
        output_stride=8,
        atrous_rates=(6, 12, 18, 24),
        batch_norm_affine="frozen",
        batch_norm_statistics="batch",
        precision="fp32",
        seed=0,
    )
    load(network, arrays(f"weights_{recorded_as}"))
    return network.train()


def recorded_batch() -> CoTrainingBatch:
    inputs = arrays("inputs")
    images = {letter: torch.from_numpy(inputs[f"image_{letter}"]) for letter in "stu"}
    return CoTrainingBatch(
        source=LabeledBatch(images["s"], own_label(inputs["gt_s"])),
        labeled_target=LabeledBatch(images["t"], own_label(inputs["gt_t"])),
        unlabeled_target=LabeledBatch(images["u"], torch.zeros_like(own_label(inputs["gt_u"]))),
    )


class Replay:
    """Both branches, their optimizers and a record, as one variant of the released method wants them."""

    def __init__(self, variant: str) -> None:
        self.recorded = arrays(f"step_{variant}")
        align_void, train_mode_teacher, sequential, duplicated, teachers_first = map(bool, self.recorded["flags"])
        self.method = Method(
            alignment_counts_void=align_void,
            teacher_batch_norm="batch" if train_mode_teacher else "running",
            teachers_run="first" if teachers_first else "in_turn",
            update="sequential" if sequential else "simultaneous",
        )
        self.batch = recorded_batch()
        self.branches = Branches(tiny_network("net1"), tiny_network("net2"))
        self.learners = {net: self._learner(net, duplicated) for net in NETS}
        self.record: dict[str, np.ndarray] = {"flags": self.recorded["flags"]}
        self.gradient_norms: dict[str, np.ndarray] = {}
        self.passes: dict[tuple[str, str, bool], Tensor] = {}  # (branch, images, with gradient): logits
        for name in NETS.values():
            getattr(self.branches, name).register_forward_hook(self._keep_logits_of(name))

    def run(self) -> dict[str, np.ndarray]:
        for number in (1, 2):
            self._step(number)
        return self.record

    def _step(self, number: int) -> None:
        prefix = f"step{number}."
        rate = poly_learning_rate(2.5e-4, number - 1, schedule_iterations=250_000, power=0.9)
        for learner in self.learners.values():
            set_learning_rate(learner.optimizer, rate)
        listed = {PASTE: "paste", CLASS_MIX_DRAW["source_biased"]: "cm1", CLASS_MIX_DRAW["target_biased"]: "cm2"}
        chosen = {what: chosen_classes(self.recorded[f"{prefix}{name}.classes"]) for what, name in listed.items()}
        learners, choose = self.learners.values(), lambda what, _: chosen[what]
        seen = co_training_step(*learners, self.batch, self.method, teachers=self.branches, choose=choose)
        values = {name: value for learner in learners for name, value in learner.losses.items()}
        record = {"lr": np.array(self.learners["net1"].optimizer.param_groups[0]["lr"])}
        record |= {f"loss.{name}": values[own].numpy() for name, own in LOSSES.items()}
        record |= self._alignment() | self._mixes(seen, chosen)
        for net, name in NETS.items():
            record[f"{net}.grad_norm"] = self.gradient_norms[net]
            record |= {f"{net}.{key}": value for key, value in self._state(getattr(self.branches, name)).items()}
        for name in listed.values():  # what was handed in
            record[f"{name}.classes"] = self.recorded[f"{prefix}{name}.classes"]
        self.record |= {f"{prefix}{key}": value for key, value in record.items()}

    def _learner(self, net: str, duplicated: bool) -> Learner:
        network = getattr(self.branches, NETS[net])
        optimizer: torch.optim.Optimizer = build_optimizer(
            network, backbone_multiplier=1, classifier_multiplier=10, momentum=0.9, weight_decay=5e-4
        )
        if duplicated:
            forward = arrays("forward")
            own = dict(network.named_parameters())
            visits = zip(forward["param_names"], forward["optim_multiplicity"], strict=True)
            optimizer = DuplicatingSGD(optimizer, {own[own_name(name)]: int(count) for name, count in visits})
        optimizer.register_step_pre_hook(lambda *_: self._keep_gradient_norms(net))
        return Learner(NETS[net], network, optimizer)

    def _keep_gradient_norms(self, net: str) -> None:
        """Norms just before the optimizer steps, NaN where a parameter is frozen."""
        own = dict(getattr(self.branches, NETS[net]).named_parameters())
        gradients = [own[own_name(name)].grad for name in arrays("forward")["param_names"]]
        self.gradient_norms[net] = np.array(
            [np.nan if gradient is None else float(gradient.double().norm()) for gradient in gradients]
        )

    def _keep_logits_of(self, branch: str):  # type: ignore[no-untyped-def]
        def hook(_: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
            for what, batch in (("source", self.batch.source), ("unlabeled", self.batch.unlabeled_target)):
                if inputs[0] is batch.image:
                    self.passes[branch, what, torch.is_grad_enabled()] = logits.detach()

        return hook

    def _alignment(self) -> dict[str, np.ndarray]:
        record = {}
        passes = {"net1": ("source_biased", "source", True), "net2": ("target_biased", "source", False)}
        for net, key in passes.items():
            sums, pixels = class_sums(
                self.passes[key], self.batch.source.label, counts_void=self.method.alignment_counts_void
            )
            prototypes, present = class_prototypes(sums, pixels), pixels > 0
            classes = present.nonzero().flatten()
            if present[NUM_CLASSES:].any():  # void is our last row, but -1, the first, as recorded
                classes = classes.roll(1)
            record[f"align.proto_{net}"] = prototypes[classes].numpy()
            record["align.classes"] = np.where(classes.numpy() == NUM_CLASSES, -1, classes.numpy())
        return record

    def _mixes(self, seen: Seen, chosen: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        record = {}
        for name, (teacher, student) in MIXES.items():
            labels, mixed = seen[f"pseudo_label_by_{teacher}"], seen[f"mixed_for_{student}"]
            assert isinstance(labels, Tensor)
            assert isinstance(mixed, LabeledBatch)
            logits = self.passes[teacher, "unlabeled", False].double()
            first, second = logits.topk(2, dim=1).values.unbind(1)
            record |= {
                f"{name}.pseudo_label": recorded_label(labels),
                f"{name}.mask": paste_mask(labels, chosen[CLASS_MIX_DRAW[student]]).numpy(),
                f"{name}.image_mix": mixed.image.numpy(),
                f"{name}.label_mix": recorded_label(mixed.label),
                f"{name}.teacher_logits_sum": logits.sum().numpy(),
                f"{name}.teacher_logits_abs": logits.abs().sum().numpy(),
                f"{name}.min_margin": (first - second).min().numpy(),
            }
        combined = seen["combination_2"]
        assert isinstance(combined, LabeledBatch)
        record["paste.mask"] = paste_mask(self.batch.source.label, chosen[PASTE]).numpy()
        record["paste.image_mix"] = combined.image.numpy()
        record["paste.label_mix"] = recorded_label(combined.label)
        return record

    def _state(self, network: nn.Module) -> dict[str, np.ndarray]:
        state = network.state_dict()
        norms = [float(state[own_name(name)].double().norm()) for name in arrays("forward")["state_names"]]
        kept = {name: state[own_name(name)].numpy().copy() for name in (*KEPT_WEIGHTS, *KEPT_STATISTICS)}
        return {"state_norm": np.array(norms), **kept}
