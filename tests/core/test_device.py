"""Which device a run gets, and what is said where it cannot be had."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dstc.core import cores
from dstc.core import device as devices
from dstc.core.device import choose_algorithms, choose_device, computes_bf16, computing, precision_used, ready, set_up
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


@pytest.fixture
def _algorithms_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("deterministic", "benchmark"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "of the user")
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_algorithms_kept")
def test_algorithms_are_exact_or_fast_and_a_gpu_run_notes_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    for how in ("exact", "fast"):
        choose_algorithms(how)
        assert torch.are_deterministic_algorithms_enabled() == (how == "exact")
        assert torch.backends.cudnn.benchmark == (how == "fast")
        assert computing(torch.device("cuda"), "fp32")["runtime.deterministic"] == how
        assert "runtime.deterministic" not in computing(torch.device("cpu"), "fp32")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == "of the user"


def test_a_cpu_computes_by_the_same_algorithms_whatever_is_asked() -> None:
    for how in ("exact", "fast"):
        assert ready("cpu", 0, how) == torch.device("cpu")
        assert not torch.are_deterministic_algorithms_enabled()


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


CPU = torch.device("cpu")


@pytest.fixture
def _asked_anew() -> Iterator[None]:
    computes_bf16.cache_clear()
    yield
    computes_bf16.cache_clear()


@pytest.mark.usefixtures("_asked_anew")
@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512vl", "bf16"),  # Zen 4, Cooper Lake
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile", "bf16"),
        ("Features\t: fp asimd bf16 i8mm", "bf16"),  # Arm
        ("flags\t\t: fpu avx2 avx512f fma", "fp32"),
        ("model name\t: a CPU of bf16", "fp32"),
        ("", "fp32"),
    ],
)
def test_auto_is_bf16_where_the_cpu_has_arithmetic_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, used: str
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(devices, "Path", lambda _: info)
    assert precision_used(CPU, "auto") == computing(CPU, "auto")["model.precision"] == used
    assert (precision_used(CPU, "fp32"), precision_used(CPU, "bf16")) == ("fp32", "bf16")


@pytest.mark.usefixtures("_asked_anew")
def test_auto_is_bf16_where_the_gpu_has_arithmetic_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device", lambda gpu: contextlib.nullcontext(asked.append(gpu)))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert precision_used(torch.device("cuda:1"), "auto") == "fp32"
    assert asked == [torch.device("cuda:1")]


@pytest.mark.usefixtures("_asked_anew")
def test_where_there_is_no_linux_auto_is_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "Path", lambda _: tmp_path / "cpuinfo")
    assert precision_used(CPU, "auto") == "fp32"
