"""Named, seeded, independent random streams. No code in this project draws from a global generator.

A stream is addressed by what it is for: `generator(seed, "co_train", "mixing", iteration)`. Because the address holds the
iteration (or the sample's position), a draw depends neither on what was drawn before nor on which worker draws it: any
number of workers, and a run that was interrupted and resumed, see the same numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *address: str | int) -> int:
    """A 63-bit seed for the stream at this address; other addresses and other seeds give unrelated ones."""
    text = "/".join(str(part) for part in (seed, *address))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *address: str | int) -> np.random.Generator:
    """A numpy generator of the stream at this address."""
    return np.random.default_rng(stream_seed(seed, *address))
