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
_KEYS = 1 << 16
_OFFSET = 1 << 15


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
            code, span = dense(column)[0].astype(np.uint64), len(np.unique(column))
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
        keys = sketch.bucket(nanoseconds[self.order]).astype(np.int64) + _OFFSET
        return self._counted(self.codes * _KEYS + keys, weight, self.order)

    def merged(self, rows: Buckets) -> Buckets:
        """One sketch per group: the sum of its rows' sketches."""
        group = np.empty(len(self.order), dtype=np.int64)
        group[self.order] = self.codes
        codes = np.repeat(group, rows.sizes) * _KEYS + (rows.keys.astype(np.int64) + _OFFSET)
        return self._counted(codes, rows.counts, None)

    def _counted(self, codes: Ints, weight: U64, of: Ints | None) -> Buckets:
        """Sketches from codes group * _KEYS + key; `weight` of entry i stands at `of[i]`, or at i."""
        if int(weight.max()) == 1:
            codes = np.sort(codes)
            new = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
            counts = np.diff(new, append=len(codes)).astype(np.uint64)
            distinct = codes[new]
        else:
            order = np.argsort(codes, kind="stable")
            distinct, new = np.unique(codes[order], return_index=True)
            counts = np.add.reduceat(weight[order if of is None else of[order]], new)
        sizes = np.diff(np.searchsorted(distinct, np.arange(len(self) + 1) * _KEYS))
        return Buckets(sizes.astype(np.int64), (distinct % _KEYS - _OFFSET).astype(np.int16), counts)
