"""What a stage imports before it does anything: seconds on every `dvc repro`, so the heavy packages are watched."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "cv2", "pandas", "matplotlib", "sympy")


def heavy_imports_of(module: str) -> list[str]:
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("module", ["stages.list_data", "stages.make_split", "stages.prepare_data"])
def test_stages_that_need_no_network_import_no_torch(module: str) -> None:
    assert heavy_imports_of(module) == []


@pytest.mark.parametrize("module", ["stages.warm_up", "stages.joint", "stages.co_train", "stages.evaluate"])
def test_stages_with_networks_import_torch_and_nothing_else_that_is_heavy(module: str) -> None:
    assert heavy_imports_of(module) == ["torch"]


def test_a_python_without_the_environment_is_told_apart() -> None:
    bare = [sys.executable, "-S", "-m", "stages.list_data"]  # -S: without the packages that were installed
    done = subprocess.run(bare, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "activate" in done.stderr and "Traceback" not in done.stderr
