import pickle
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from dstc.core.errors import UserError
from dstc.models.checkpoints import FORMAT, load_strictly, read_described, read_tensors, save_network
from tests.models.small import small_network


class RunsWhenLoaded:
    """A pickle of this touches a file as soon as anybody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_saved_network_is_read_equal_with_its_description(tmp_path: Path) -> None:
    network, description = small_network(0), {"classes": ["road"], "model": {"backbone": "narrow_resnet"}}
    save_network(tmp_path / "models/a.pth", network, description)
    content = read_tensors(tmp_path / "models/a.pth")
    assert content["format"] == FORMAT
    assert content["description"] == description
    assert list(content["state"]) == list(network.state_dict())
    assert all(torch.equal(value, content["state"][name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("has_average", [True, False])
def test_a_checkpoint_holds_the_network_and_its_average_or_the_network_under_both_names(
    tmp_path: Path, has_average: bool
) -> None:
    network, average = small_network(0), small_network(1)
    description = {"classes": ["road"], "model": {"backbone": "narrow_resnet"}}
    save_network(tmp_path / "a.pt", network, description, average if has_average else None)
    expected = {"last": network, "ema": average if has_average else network}
    for which, kept in expected.items():
        _, state = read_described(tmp_path / "a.pt", which)
        assert all(torch.equal(value, state[name]) for name, value in kept.state_dict().items())


def test_the_same_network_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    save_network(tmp_path / "a.pth", small_network(), {})
    time.sleep(0.01)
    save_network(tmp_path / "b.pth", small_network(), {})
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_a_save_that_fails_leaves_the_former_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_network(path, small_network(), {})
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        save_network(path, small_network(1), {"cannot be pickled": lambda: None})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("as_torch_saves", [True, False])
def test_a_file_that_would_run_code_is_refused_and_has_not_run(tmp_path: Path, as_torch_saves: bool) -> None:
    trace, path = tmp_path / "it-ran", tmp_path / "evil.pth"
    content = {"format": FORMAT, "description": {}, "state": RunsWhenLoaded(trace)}
    if as_torch_saves:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"evil\.pth: .*refused because loading it could run code"):
        read_tensors(path)
    assert not trace.exists()
    if as_torch_saves:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert trace.exists()  # so the file was dangerous indeed


@pytest.mark.parametrize("kept", [0, 1, 10, 1000, 0.5, 0.99, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.pth"
    save_network(path, small_network(), {})
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(UserError, match=r"cut\.pth: .*(is it truncated\?|is no file of weights)"):
        read_tensors(path)


@pytest.mark.parametrize(
    "content", [b"not weights at all", b"PK\x03\x04 nor this", b"\x80\x02}q\x00.", b"<html>404</html>"]
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"page\.pth: "):
        read_tensors(tmp_path / "page.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: no such file of weights"):
        read_tensors(tmp_path / "none.pth")


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path.name}: is a folder; name the file"):
        read_tensors(tmp_path)


def test_weights_that_do_not_fit_are_refused_whole_with_the_first_keys_that_differ() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = {name: value + 1 for name, value in network.state_dict().items()}
    state["0.bias"] = torch.zeros(4)
    state["2.weight"] = state.pop("1.weight")
    with pytest.raises(UserError) as error:
        load_strictly(network, state, "a.pth: does not fit")
    assert str(error.value) == (
        "a.pth: does not fit: 1 keys are missing (such as 1.weight); 1 keys are foreign (such as 2.weight); "
        "1 shapes differ (0.bias is (4,), the network's is (3,))"
    )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
