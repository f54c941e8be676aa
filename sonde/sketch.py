"""DDSketch buckets: relative error at most 1 % at every quantile.

Bucket i holds the durations in (g^(i-1), g^i] ns with g = 1.01 / 0.99; its value is 2 g^i / (g + 1);
key ZERO holds 0 ns. Masson, Rim, Lee: DDSketch, VLDB 2019. The SQL twin is sketchQuantile() in
aggregator/storage/schema.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
#: Key of the bucket of exactly 0 ns; outside what any duration can reach.
ZERO = -32768


def bucket(nanoseconds: npt.NDArray[np.uint64]) -> npt.NDArray[np.int16]:
    """Bucket keys, shape as given."""
    with np.errstate(divide="ignore"):
        keys = np.ceil(np.log(nanoseconds.astype(np.float64)) / np.log(GAMMA))
    return np.where(nanoseconds == 0, ZERO, keys).astype(np.int16)


def value(keys: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Nanoseconds that a bucket stands for, shape as given."""
    values = 2.0 * np.power(GAMMA, keys.astype(np.float64)) / (GAMMA + 1)
    return np.where(keys == ZERO, 0.0, values)


def quantile(level: float, sketch: dict[int, int]) -> float:
    """Nanoseconds at `level` (0 to 1) of a sketch {bucket: count}; NaN for an empty one."""
    if not sketch:
        return float("nan")
    keys = np.array(sorted(sketch), dtype=np.int16)
    counts = np.array([sketch[int(key)] for key in keys], dtype=np.uint64)
    rank = int(np.floor(level * (int(counts.sum()) - 1)))
    position = int(np.searchsorted(np.cumsum(counts), rank, side="right"))
    return float(value(keys[position : position + 1])[0])
