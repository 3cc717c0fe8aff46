"""BatchNorm's statistics. Synchronized layers run on the CPU as long as there is one process."""

import pytest
import torch
from torch import Tensor, nn

from dstc.core.errors import UserError
from dstc.models.batch_norm import batch_norms, recompute_statistics, statistics_kept, synchronize
from dstc.models.gradient_checkpointing import checkpoint_blocks
from tests.models.small import small_network


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("synchronized", [False, True])
def test_a_pass_that_only_looks_normalizes_as_any_but_leaves_the_statistics(synchronized: bool) -> None:
    network, other = small_network().train(), small_network().train()
    if synchronized:
        synchronize(network)
        assert all(isinstance(layer, nn.SyncBatchNorm) for layer in batch_norms(network))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad(), statistics_kept(network):
        assert torch.equal(network(images()), other(images()))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network(images())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in other.state_dict().items())


def test_recomputed_statistics_are_the_mean_over_batches_and_the_network_is_else_as_before() -> None:
    network = small_network().eval()
    batches = [3 * images() + 1, images() - 2]
    first = batch_norms(network)[0]
    seen: list[Tensor] = []
    hook = first.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recompute_statistics(network, batches)
    hook.remove()
    assert first.running_mean is not None
    assert torch.allclose(first.running_mean, torch.stack([one.mean((0, 2, 3)) for one in seen]).mean(0), atol=1e-5)
    after = network.state_dict()
    changed = {name.rpartition(".")[2] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
    assert not any(module.training for module in network.modules())
    assert {layer.momentum for layer in batch_norms(network)} == {0.1}


def test_a_layer_that_does_more_than_normalize_is_not_replaced_by_one_that_does_not() -> None:
    """Such as timm's BatchNormAct2d, which brings its activation; none of the backbones so far has one."""

    class WithActivation(nn.BatchNorm2d):
        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features).relu()

    with pytest.raises(UserError, match=r"but a WithActivation of this model\.backbone does more than"):
        synchronize(nn.Sequential(nn.BatchNorm2d(3), WithActivation(3)))


def test_synchronized_layers_can_be_recomputed() -> None:
    plain, synchronized = small_network().train(), small_network().train()
    synchronize(synchronized)
    checkpoint_blocks(synchronized.backbone)
    for network in (plain, synchronized):
        network(images()).square().mean().backward()
    for (name, one), other in zip(plain.named_parameters(), synchronized.parameters(), strict=True):
        assert one.grad is other.grad is None or torch.equal(one.grad, other.grad), name
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in synchronized.state_dict().items())
