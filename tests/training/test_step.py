import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from dstc.training.step import Learner, NotFiniteError, finite_losses, training_step


class Number(nn.Module):
    """A network of one weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))


def learner(name: str, value: float, **weights: float) -> Learner:
    network = Number(value)
    return Learner(name, network, torch.optim.SGD(network.parameters(), lr=0.1), weights)


def weight_of(one: Learner) -> Tensor:
    return one.network.get_parameter("weight")


@pytest.mark.parametrize(("sequential", "label"), [(False, 1.0), (True, 0.8)])
def test_a_learner_labels_for_the_next_one_before_or_after_its_own_step(sequential: bool, label: float) -> None:
    first, second = learner("first", 1.0), learner("second", 5.0)

    def first_losses() -> Iterator[dict[str, Tensor]]:
        yield {"square": weight_of(first) ** 2}  # its step: 1 - 0.1 * 2 = 0.8

    def second_losses() -> Iterator[dict[str, Tensor]]:
        yield {"product": weight_of(second) * weight_of(first).detach()}

    values = training_step([(first, first_losses), (second, second_losses)], sequential=sequential)
    assert values["second/product"].item() == pytest.approx(5 * label)
    assert weight_of(first).item() == pytest.approx(0.8)
    assert weight_of(second).item() == pytest.approx(5 - 0.1 * label)


def test_gradients_of_all_graphs_add_up_with_their_weights_and_values_are_reported_without() -> None:
    one = learner("one", 2.0, halved=0.5)

    def losses() -> Iterator[dict[str, Tensor]]:
        yield {"square": weight_of(one) ** 2, "halved": 6 * weight_of(one)}
        yield {"triple": 3 * weight_of(one)}

    values = training_step([(one, losses)])
    assert {name: value.item() for name, value in values.items()} == {
        "one/square": 4.0,
        "one/halved": 12.0,
        "one/triple": 6.0,
    }
    assert not any(value.requires_grad for value in values.values())
    assert weight_of(one).item() == pytest.approx(2 - 0.1 * (4 + 0.5 * 6 + 3))


def test_a_step_starts_without_the_last_steps_gradient() -> None:
    one = learner("one", 2.0)

    def losses() -> Iterator[dict[str, Tensor]]:
        yield {"linear": 1 * weight_of(one)}

    for _ in range(3):
        training_step([(one, losses)])
    assert weight_of(one).item() == pytest.approx(2 - 3 * 0.1)


def test_each_graph_is_gone_before_the_next_is_asked_for() -> None:
    one, freed = learner("one", 2.0), []

    def losses() -> Iterator[dict[str, Tensor]]:
        loss = weight_of(one) ** 2
        yield {"first": loss}
        try:
            loss.backward()
        except RuntimeError as error:
            freed.append("second time" in str(error))
        yield {"second": weight_of(one) ** 2}

    training_step([(one, losses)])
    assert freed == [True]


def test_a_network_without_losses_stays_as_it_is() -> None:
    one = learner("one", 2.0)
    assert training_step([(one, lambda: iter(()))]) == {}
    assert weight_of(one).item() == 2.0


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_a_loss_that_is_not_finite_ends_the_run_with_iteration_and_term_named(value: float, shown: str) -> None:
    values = {"source_biased/source_cross_entropy": torch.tensor(1.0), "source_biased/alignment": torch.tensor(value)}
    expected = f"iteration 7: the loss source_biased/alignment is {shown} (learning rate 0.00025)"
    with pytest.raises(NotFiniteError, match=re.escape(expected)):
        finite_losses(values, iteration=7, learning_rate=2.5e-4)


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("-inf"), "inf")])
@pytest.mark.parametrize("sequential", [False, True])
def test_a_gradient_that_is_not_finite_ends_the_run_though_the_losses_are(
    value: float, shown: str, sequential: bool
) -> None:
    first, second = learner("first", 1.0), learner("second", 2.0)
    weight_of(first).register_hook(lambda gradient: gradient * value)
    losses = [(one, lambda one=one: iter([{"square": weight_of(one) ** 2}])) for one in (first, second)]
    values = training_step(losses, sequential=sequential)
    expected = f"iteration 3: the gradient of first is {shown} (learning rate 0.1), its losses are finite"
    with pytest.raises(NotFiniteError, match=re.escape(expected)):
        finite_losses(values, [first, second], iteration=3, learning_rate=0.1)


def test_a_large_gradient_is_finite() -> None:
    one = learner("one", 1.0)
    values = training_step([(one, lambda: iter([{"steep": weight_of(one) * 3e38}]))])
    assert finite_losses(values, [one], iteration=1, learning_rate=0.1) == {"one/steep": pytest.approx(3e38)}


def test_everything_is_fetched_from_the_device_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = learner("one", 1.0), learner("other", 1.0)
    values = training_step([(one, lambda: iter([{"a": weight_of(one) ** 2, "b": 1 * weight_of(one)}]))])
    fetches = []
    for fetch in ("tolist", "item", "__float__", "__bool__", "cpu", "numpy"):
        original = getattr(Tensor, fetch)
        monkeypatch.setattr(Tensor, fetch, lambda *a, f=original, n=fetch: (fetches.append(n), f(*a))[1])
    assert finite_losses(values, [one, other], iteration=1, learning_rate=0.1) == {"one/a": 1.0, "one/b": 1.0}
    assert fetches == ["tolist"]


def test_finite_losses_come_as_numbers_under_their_names() -> None:
    values = {"a/x": torch.tensor(1.5), "a/y": torch.tensor(-2.0)}
    assert finite_losses(values, iteration=1, learning_rate=0.1) == {"a/x": 1.5, "a/y": -2.0}
