"""Identities that both ends of a connection compute alike, without headers and without clocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix64(values: U64) -> U64:
    """SplitMix64's finaliser, a bijection on 64 bits (Steele, Lea, Flood: Fast Splittable PRNGs, 2014)."""
    x = values.copy()
    x ^= x >> np.uint64(30)
    x *= _MIX_1
    x ^= x >> np.uint64(27)
    x *= _MIX_2
    x ^= x >> np.uint64(31)
    return x


def exchange_ids(connection_id: U64, offset: U64) -> U64:
    """Hash of connection and stream offset of the request's first byte, shape (n,); 0 where the connection is 0."""
    hashed = mix64(connection_id + mix64(offset + _GOLDEN))
    hashed[connection_id == 0] = 0
    return hashed
