"""Which device a run gets, and what is said where it cannot be had."""

import pytest
import torch

from dstc.core.device import choose_device
from dstc.core.errors import UserError


def test_a_process_without_a_gpu_of_its_own_is_told_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """More processes than GPUs, with a torchrun typed by hand: nobody has counted them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "63")
    with pytest.raises(UserError, match=r"runtime\.device: 'auto' cannot be used here"):
        choose_device("auto")


def test_who_only_starts_others_takes_no_room_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: pytest.fail("the GPU was touched"))
    assert choose_device("auto") == torch.device("cuda")
