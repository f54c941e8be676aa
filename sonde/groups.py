"""Vectorised GROUP BY: exact sums and sketches of many groups in a few passes over NumPy columns.

No step loops over rows. Sums are exact 64-bit integers (`add.reduceat`), never floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sonde import sketch
from sonde.sketches import Buckets

Ints = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Kind = TypeVar("Kind", bound="Groups")

_LIMIT = 2**62
#: Room for the keys of one group's sketch: 0 for sketch.ZERO, else the bucket + 1. The longest time that 64 bits of
#: nanoseconds hold is in bucket 2,218.
_KEYS = 4096
_SMALL = 2**32


def dense(codes: npt.NDArray[Any]) -> tuple[Ints, int]:
    """Codes as 0..n-1 in order of value, shape as given, and n."""
    values, inverse = np.unique(codes, return_inverse=True)
    return inverse.astype(np.int64), len(values)


def combine(columns: Sequence[npt.NDArray[Any]]) -> Ints:
    """One code per row, equal exactly where all `columns` are equal; shape (n,)."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    size = 1
    for column in columns:
        low = column.min() if column.size else column.dtype.type(0)
        code = (column - low).astype(np.uint64)
        span = int(code.max()) + 1 if code.size else 1
        if span > 2 * len(code) + 1024:
            places, span = dense(column)
            code = places.astype(np.uint64)
        if size > _LIMIT // span:
            key, size = dense(key)
        key = key * span + code.astype(np.int64)
        size *= span
    return key


@dataclass(frozen=True)
class Groups:
    """Rows sorted by group: `order` (n,) sorts them, `starts` (g,) are the first of each, `codes` (n,) the group."""

    order: Ints
    starts: Ints
    codes: Ints

    @classmethod
    def by(cls: type[Kind], columns: Sequence[npt.NDArray[Any]]) -> Kind:
        """Groups of equal `columns`, at least one row."""
        key = combine(columns)
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        new = np.empty(len(key), dtype=bool)
        new[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
        return cls(order, np.flatnonzero(new), np.cumsum(new) - 1)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def first(self) -> Ints:
        """A row of each group, shape (g,)."""
        return self.order[self.starts]

    def sums(self, column: U64) -> U64:
        """Sum of each group, shape (g,)."""
        out: U64 = np.add.reduceat(column[self.order], self.starts)
        return out

    def buckets(self, nanoseconds: U64, weight: U64) -> Buckets:
        """One sketch per group of durations (n,), each counted `weight` times, at least once."""
        return self._counted(self.codes, sketch.bucket(nanoseconds[self.order]), weight, self.order)

    def merged(self, rows: Buckets) -> Buckets:
        """One sketch per group: the sum of its rows' sketches."""
        group = np.empty(len(self.order), dtype=np.int64)
        group[self.order] = self.codes
        return self._counted(np.repeat(group, rows.sizes), rows.keys, rows.counts, None)

    def _counted(self, group: Ints, keys: npt.NDArray[np.int16], weight: U64, of: Ints | None) -> Buckets:
        """Sketches of entries `keys` in `group`; `weight` of entry i stands at `of[i]`, or at i."""
        # Sorting is most of the cost, and of 32 bits it is half of that of 64.
        kind = np.uint32 if len(self) * _KEYS < _SMALL else np.int64
        place = np.where(keys == sketch.ZERO, 0, keys + 1).astype(kind)
        codes: npt.NDArray[Any] = np.multiply(group, _KEYS, dtype=kind, casting="unsafe") + place
        if int(weight.max()) == 1:
            codes.sort()
            new = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
            counts = np.diff(new, append=len(codes)).astype(np.uint64)
            distinct = codes[new]
        else:
            order = np.argsort(codes, kind="stable")
            distinct, new = np.unique(codes[order], return_index=True)
            counts = np.add.reduceat(weight[order if of is None else of[order]], new)
        wide = distinct.astype(np.int64)
        sizes = np.bincount(wide // _KEYS, minlength=len(self))
        place = wide % _KEYS
        return Buckets(sizes.astype(np.int64), np.where(place == 0, sketch.ZERO, place - 1).astype(np.int16), counts)
