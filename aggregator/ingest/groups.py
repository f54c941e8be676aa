"""Vectorised GROUP BY: exact sums and sketches of many groups in a few passes over NumPy columns.

No step loops over rows. Sums are exact 64-bit integers (`add.reduceat`), never floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sonde import sketch

Ints = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

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
    def by(cls, columns: Sequence[npt.NDArray[Any]]) -> Groups:
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

    def sketches(self, nanoseconds: U64, weight: U64) -> pa.MapArray:
        """One sketch {bucket: count} per group, keys ascending."""
        keys = sketch.bucket(nanoseconds[self.order]).astype(np.int64) + _OFFSET
        code = self.codes * _KEYS + keys
        if int(weight.max()) == 1:
            code.sort()
            new = np.flatnonzero(np.diff(code, prepend=code[0] - 1))
            counts = np.diff(new, append=len(code)).astype(np.uint64)
            distinct = code[new]
        else:
            order = np.argsort(code, kind="stable")
            distinct, new = np.unique(code[order], return_index=True)
            counts = np.add.reduceat(weight[self.order][order], new)
        offsets = np.searchsorted(distinct, np.arange(len(self) + 1) * _KEYS)
        return pa.MapArray.from_arrays(
            pa.array(offsets.astype(np.int32)),
            pa.array((distinct % _KEYS - _OFFSET).astype(np.int16)),
            pa.array(counts),
        )
