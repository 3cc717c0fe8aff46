from hypothesis import given
from hypothesis import strategies as st

from dstc.core.randomness import generator, stream_seed


def test_an_address_always_gives_the_same_stream() -> None:
    first, second = (generator(3, "co_train", "mixing", 7).integers(0, 2**32, 10) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_streams_are_the_same_on_every_machine_and_in_every_release() -> None:
    assert stream_seed(0, "split") == 1947725093899964015


def test_other_seeds_and_addresses_give_other_streams() -> None:
    addresses = [(seed, part, i) for seed in range(5) for part in ("crop", "mixing") for i in range(20)]
    assert len({stream_seed(*address) for address in addresses}) == len(addresses)


@given(st.integers(0, 2**32 - 1), st.text())
def test_seeds_fit_torch_and_numpy(seed: int, part: str) -> None:
    assert 0 <= stream_seed(seed, part) < 2**63
