import re

import pytest
import torch
from torch import Tensor, nn

from dstc.core.batches import LabeledBatch
from dstc.training.learner import Learner, NotFiniteError, finite_losses


class Number(nn.Module):
    """A network of one weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))


def learner(name: str, value: float) -> Learner:
    network = Number(value)
    return Learner(name, network, torch.optim.SGD(network.parameters(), lr=0.1))


def weight_of(one: Learner) -> Tensor:
    return one.network.get_parameter("weight")


def steep(one: Learner) -> None:
    """A step whose loss is the weight's square."""
    one.zero_grad()
    one.back_propagate({"square": weight_of(one) ** 2})
    one.step()


def test_gradients_of_all_graphs_add_up_with_their_weights_and_values_are_kept_without() -> None:
    one = learner("one", 2.0)
    one.zero_grad()
    one.back_propagate({"square": weight_of(one) ** 2, "halved": 6 * weight_of(one)}, {"halved": 0.5})
    one.back_propagate({"triple": 3 * weight_of(one)})
    one.step()
    assert {name: value.item() for name, value in one.losses.items()} == {
        "one/square": 4.0,
        "one/halved": 12.0,
        "one/triple": 6.0,
    }
    assert not any(value.requires_grad for value in one.losses.values())
    assert weight_of(one).item() == pytest.approx(2 - 0.1 * (4 + 0.5 * 6 + 3))


def test_a_step_starts_without_the_last_steps_gradient_and_losses() -> None:
    one = learner("one", 2.0)
    for name in "abc":
        one.zero_grad()
        one.back_propagate({name: 1 * weight_of(one)})
        one.step()
    assert weight_of(one).item() == pytest.approx(2 - 3 * 0.1)
    assert list(one.losses) == ["one/c"]


def test_a_graph_is_gone_once_it_is_back_propagated() -> None:
    one = learner("one", 2.0)
    loss = weight_of(one) ** 2
    one.back_propagate({"first": loss})
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_learner_gives_logits_and_labels_of_a_batch() -> None:
    network, batch = nn.Conv2d(3, 2, 1), LabeledBatch(torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8))
    logits, label = Learner("one", network, torch.optim.SGD(network.parameters(), lr=0.1))(batch)
    assert torch.equal(logits, network(batch.image))
    assert label is batch.label


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_a_loss_that_is_not_finite_ends_the_run_with_iteration_and_term_named(value: float, shown: str) -> None:
    values = {"source_biased/source_cross_entropy": torch.tensor(1.0), "source_biased/alignment": torch.tensor(value)}
    expected = f"iteration 7: the loss source_biased/alignment is {shown} (learning rate 0.00025)"
    with pytest.raises(NotFiniteError, match=re.escape(expected)):
        finite_losses(values, iteration=7, learning_rate=2.5e-4)


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("-inf"), "inf")])
def test_a_gradient_that_is_not_finite_ends_the_run_though_the_losses_are(value: float, shown: str) -> None:
    first, second = learner("first", 1.0), learner("second", 2.0)
    weight_of(first).register_hook(lambda gradient: gradient * value)
    steep(first), steep(second)
    values = first.losses | second.losses
    expected = f"iteration 3: the gradient of first is {shown} (learning rate 0.1), its losses are finite"
    with pytest.raises(NotFiniteError, match=re.escape(expected)):
        finite_losses(values, [first, second], iteration=3, learning_rate=0.1)


def test_a_large_gradient_is_finite() -> None:
    one = learner("one", 1.0)
    one.back_propagate({"steep": weight_of(one) * 3e38})
    one.step()
    assert finite_losses(one.losses, [one], iteration=1, learning_rate=0.1) == {"one/steep": pytest.approx(3e38)}


def test_everything_is_fetched_from_the_device_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = learner("one", 1.0), learner("other", 1.0)
    one.back_propagate({"a": weight_of(one) ** 2, "b": 1 * weight_of(one)})
    one.step()
    fetches = []
    for fetch in ("tolist", "item", "__float__", "__bool__", "cpu", "numpy"):
        original = getattr(Tensor, fetch)
        monkeypatch.setattr(Tensor, fetch, lambda *a, f=original, n=fetch: (fetches.append(n), f(*a))[1])
    assert finite_losses(one.losses, [one, other], iteration=1, learning_rate=0.1) == {"one/a": 1.0, "one/b": 1.0}
    assert fetches == ["tolist"]


def test_finite_losses_come_as_numbers_under_their_names() -> None:
    values = {"a/x": torch.tensor(1.5), "a/y": torch.tensor(-2.0)}
    assert finite_losses(values, iteration=1, learning_rate=0.1) == {"a/x": 1.5, "a/y": -2.0}
