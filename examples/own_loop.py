"""The method in a loop of your own: two networks of torchvision, co-trained on batches of yours.

    python -m examples.own_loop

The batches here are noise, to be replaced by those of your own loaders.
"""

import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from dstc.api import Branches, CoTrainingBatch, LabeledBatch, Learner, Method, co_training_step, sample_half_of_classes

CLASSES = 5


class Logits(nn.Module):
    """torchvision's networks return a dict; a step needs the logits (N, K, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)["out"]


def batch(generator: torch.Generator) -> CoTrainingBatch:
    """Two images of each kind, normalized; of the unlabeled ones the label is 0, or IGNORE where there is padding."""
    source, labeled, unlabeled = (
        LabeledBatch(
            torch.randn(2, 3, 64, 64, generator=generator),
            torch.randint(0, classes, (2, 64, 64), dtype=torch.uint8, generator=generator),
        )
        for classes in (CLASSES, CLASSES, 1)
    )
    return CoTrainingBatch(source, labeled, unlabeled)


def main(iterations: int = 10) -> list[dict[str, float]]:
    """Co-train; the losses of each iteration. Warm up the first network on the source, the second on the target before."""
    generator = torch.Generator().manual_seed(0)
    branches = Branches(Logits().train(), Logits().train())
    b1, b2 = (
        Learner(name, network, torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9))
        for name, network in vars(branches).items()
    )
    curve = []
    for _ in range(iterations):
        co_training_step(
            b1,
            b2,
            batch(generator),
            Method(alignment_weight=0.1),
            teachers=branches,  # or moving averages of them
            choose=lambda _, label: sample_half_of_classes(label, CLASSES, generator=generator),
        )
        curve.append({name: float(loss) for name, loss in (b1.losses | b2.losses).items()})
    return curve


if __name__ == "__main__":
    for losses in main():
        print("  ".join(f"{name} {loss:.3f}" for name, loss in losses.items()))
