"""What is usual for each kind of request: its p99, from a small running histogram, so that what lies above is kept.

A kind is one statement, or one operation on one resource, at one end. Invariants: memory is fixed (a table of `KINDS`
places); a kind has its place alone, so no two mix: one that finds its place taken has no p99 until the other has not
been seen for a while; nothing here is a figure that anybody is shown. Buckets are a fourth of an octave wide: at most
one in a hundred requests lies above, fewer where the p99's own bucket holds more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sonde.ids import mix64

Array = npt.NDArray[Any]
U64 = npt.NDArray[np.uint64]

KINDS = 4096
#: Fourths of an octave of 100 ns units, up to 90 days.
_BUCKETS = 192
_PER_OCTAVE = 4
#: A histogram is halved when it holds as many, so that it follows the last some ten thousand.
_HALVED_AT = 16_384
#: Of one block at most as many are counted: enough for a p99, and the counts stay in 16 bits.
_COUNTED = 4_096
_FORGET_EVERY = 60


def kinds(columns: dict[str, Array]) -> U64:
    """A hash of each row's kind, never 0; shape (n,)."""
    what = (columns["operation"].astype(np.uint64) << np.uint64(32)) + columns["resource"].astype(np.uint64)
    statement = columns["statement_id"].astype(np.uint64)
    key = np.where(statement != 0, statement, what)
    end = columns["role"].astype(np.uint64) * np.uint64(256) + columns["protocol"].astype(np.uint64)
    return mix64(key + end * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


class Usual:
    """The p99 of each kind; `refresh` about once a second."""

    def __init__(self, least: int = 1000) -> None:
        """A kind seen fewer than `least` times has no p99."""
        self._least = least
        self._owner = np.zeros(KINDS, dtype=np.uint64)
        self._counts = np.zeros((KINDS, _BUCKETS), dtype=np.uint16)
        self._limit = np.full(KINDS, _BUCKETS, dtype=np.uint8)
        self._touched = np.zeros(KINDS, dtype=bool)
        self._seen = np.zeros(KINDS, dtype=bool)
        self._refreshes = 0

    def above(self, kind: U64, duration: U64) -> npt.NDArray[np.bool_]:
        """Which of n requests lasted longer than their kind's p99, in units of the wire; counts them after."""
        place = (kind >> np.uint64(1)).astype(np.int64) % KINDS
        bucket = np.log2((duration + np.uint64(1)).astype(np.float32)) * np.float32(_PER_OCTAVE)
        bucket = np.minimum(bucket.astype(np.int64), _BUCKETS - 1)
        free = self._owner[place] == 0
        if free.any():
            self._owner[place[free]] = kind[free]
        own = self._owner[place] == kind
        above: npt.NDArray[np.bool_] = own & (bucket > self._limit[place])
        step = -(-len(kind) // _COUNTED)
        counted = own[::step]
        chosen = place[::step][counted]
        np.add.at(self._counts.reshape(-1), chosen * _BUCKETS + bucket[::step][counted], np.uint16(1))
        self._touched[chosen] = True
        return above

    def refresh(self) -> None:
        """Work out the p99 of the kinds that were seen since the last call."""
        places = np.flatnonzero(self._touched)
        self._touched[places] = False
        self._seen[places] = True
        summed = np.cumsum(self._counts[places], axis=1, dtype=np.int64)
        total = summed[:, -1]
        # The first bucket up to which 99 in a hundred lie.
        limit = (summed * 100 < total[:, None] * 99).sum(axis=1)
        self._limit[places] = np.where(total < self._least, _BUCKETS, np.minimum(limit, _BUCKETS)).astype(np.uint8)
        full = places[total >= _HALVED_AT]
        self._counts[full] //= 2
        self._refreshes += 1
        if self._refreshes % _FORGET_EVERY == 0:
            gone = ~self._seen
            self._owner[gone] = 0
            self._counts[gone] = 0
            self._limit[gone] = _BUCKETS
            self._seen[:] = False
