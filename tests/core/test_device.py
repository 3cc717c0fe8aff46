"""Which device a run gets, and what is said where it cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dstc.core import cores
from dstc.core.device import choose_device, set_up
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


@pytest.mark.parametrize(
    ("asked", "allowed", "own", "told"), [(0, 2, 8, [2]), (0, 8, 8, []), (0, 9, 8, []), (3, 2, 8, [3])]
)
def test_threads_are_as_many_as_the_cores_allowed_and_where_torch_chose_so_it_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, asked: int, allowed: int, own: int, told: list[int]
) -> None:
    said: list[int] = []
    monkeypatch.setattr(cores, "allowed", lambda: allowed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: own)
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    set_up(asked)
    assert said == told


@pytest.mark.skipif(cores.allowed() < 2, reason="one core has no second thread")
@pytest.mark.parametrize("module", ["dstc.supervised", "stages.co_train", "dstc.predict"])
def test_threads_of_torch_sleep_while_they_wait(module: str) -> None:
    """Spinning ones take half a core or more; one thread, which waits for nobody, takes a tenth of that here."""
    code = (
        f"import time, {module}, torch\n"
        "numbers = torch.zeros(10**6)\n"
        "def cost(threads):\n"
        "    torch.set_num_threads(threads)\n"
        "    numbers.add_(1)\n"
        "    began = time.process_time()\n"
        "    for _ in range(100): numbers.add_(1), time.sleep(0.003)\n"
        "    return time.process_time() - began\n"
        "print(cost(2) / cost(1))\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
    )
    assert float(done.stdout) < 4
