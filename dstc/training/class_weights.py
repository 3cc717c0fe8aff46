"""Class weights of the cross entropy: pixels of rare classes count more."""

from __future__ import annotations

import torch
from torch import Tensor

# Deviation: the released code weights every pixel the same.
FLOOR = 1.02  # bounds the weights at 50 for a class that hardly occurs


def inverse_log_weights(shares: Tensor) -> Tensor:
    """float (K,): 1 / ln(1.02 + share) of each class's share, 0 to 1, of the pixels (ENet: Paszke et al., 2016).

    Only the weights' ratios matter: the cross entropy divides by their sum over the pixels. A class of a third of the
    pixels has 3.3, one of a thousandth 48.
    """
    return 1 / torch.log(FLOOR + shares)


def weight_of(label: Tensor, weights: Tensor) -> Tensor:
    """The sum of the weights (K,) over the pixels of the label (N, H, W) uint8; void has none."""
    none = weights.new_zeros(256 - len(weights))
    return torch.cat([weights, none])[label.long()].sum()
