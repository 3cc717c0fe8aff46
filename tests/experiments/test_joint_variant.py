"""What a variant of joint training sees of the labels."""

import torch

from dstc.core.batches import LabeledBatch
from experiments.joint_variant import within_images


def test_half_of_a_source_images_classes_are_pasted_into_each_labeled_target_image() -> None:
    columns = torch.arange(4).repeat_interleave(2).expand(2, 8, 8)  # each class two columns wide
    source = LabeledBatch(torch.ones(2, 3, 8, 8), columns.byte())
    target = LabeledBatch(torch.zeros(2, 3, 8, 8), torch.full((2, 8, 8), 4, dtype=torch.uint8))
    batches = {"source": source, "labeled_target": target}
    combine = within_images(0, 5)
    seen = [combine(iteration, batches) for iteration in range(8)]
    assert all(each["labeled_target"] is target for each in seen)
    labels = torch.stack([each["source"].label for each in seen])
    assert (labels != 4).float().mean((2, 3)).eq(0.5).all()
    assert torch.equal(torch.stack([each["source"].image[:, 0] for each in seen]), (labels != 4).float())
    assert len(labels.unique(dim=0)) > 1  # other classes in other iterations
    assert torch.equal(combine(3, batches)["source"].label, labels[3])
