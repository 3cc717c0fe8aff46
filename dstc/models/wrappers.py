"""What other programs put around a network's state dict: it is taken off, so that the names of the network remain.

| wrapper | put there by |
|---|---|
| `state_dict`, `model_state_dict`, `model` beside an epoch, an optimizer, ... | most training loops |
| `module.` before every name | DataParallel, DistributedDataParallel |
| `_orig_mod.` | torch.compile |
| `model.`, `network.`, `net.` | Lightning, by the name that a module has in its owner |
| `backbone.`, `encoder.` beside the names of a head | torchvision's and others' segmentation networks |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_KEYS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "backbone.", "encoder.")


def inner_state(content: Any) -> Any:
    """The state dict below the keys that training loops save it under; `content` itself if there is none."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _KEYS if isinstance(content.get(key), Mapping) and content[key]), None)
        if inner is None:
            break
        content = inner
    return content


def without_prefixes(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The part of `state` below wrapping modules, by its own names. No known kind of weights has names like theirs."""
    for _ in _PREFIXES:  # each at most once, in any order
        prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state
