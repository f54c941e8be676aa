"""Many DDSketches at once, as flat columns, and their form on the wire (message Sketch).

Invariants of a Buckets: row i holds sizes[i] neighbouring entries; in a row the keys ascend; no count is 0. `read`
gives nothing else, whatever the bytes, and never allocates more than the declared entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sonde import columns, sketch
from sonde.errors import WireError

#: Beyond the bucket of any duration that a batch may hold: 90 days are in bucket 1,829.
_MAX_BUCKET = 2047


@dataclass(frozen=True)
class Buckets:
    """Sketches of n rows: sizes int64 (n,), keys int16 (m,), counts uint64 (m,)."""

    sizes: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int16]
    counts: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, nanoseconds: npt.NDArray[np.uint64], weight: npt.NDArray[np.uint64]) -> Buckets:
        """One sketch a row, of its own duration, counted `weight` times; all shape (n,), weights at least 1."""
        return cls(np.ones(len(nanoseconds), dtype=np.int64), sketch.bucket(nanoseconds), weight)

    @classmethod
    def concatenate(cls, parts: Sequence[Buckets]) -> Buckets:
        """The rows of all `parts`."""
        return cls(
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def where(self, mask: npt.NDArray[np.bool_]) -> Buckets:
        """The rows of `mask`, shape (n,)."""
        entries = np.repeat(mask, self.sizes)
        return Buckets(self.sizes[mask], self.keys[entries], self.counts[entries])

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each row's entries begin, and the end of the last, shape (n + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def totals(self) -> npt.NDArray[np.uint64]:
        """Sum of each row's counts, shape (n,)."""
        summed = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.uint64)
        starts = self.starts
        return summed[starts[1:]] - summed[starts[:-1]]


def fill(message: Any, buckets: Buckets) -> None:
    """Write `buckets` into the protobuf `message` Sketch."""
    message.entries = len(buckets.keys)
    message.sizes = columns.encode(buckets.sizes)
    wire = np.where(buckets.keys == sketch.ZERO, 0, buckets.keys.astype(np.int64) + 1)
    message.bucket = columns.encode_delta(wire)
    message.count = columns.encode(buckets.counts)


def read(message: Any, rows: int, limit: int) -> Buckets:
    """Sketches of a section of `rows` rows.

    Raises:
        WireError: more than `limit` entries, or bytes that break the invariants.
    """
    entries = message.entries
    if entries > limit:
        raise WireError(f"{entries} entries; at most {limit}")
    if rows == 0 and not entries and not message.sizes:
        return Buckets(np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.uint64))
    sizes = columns.decode(message.sizes, rows)
    if (sizes.size and int(sizes.max()) > entries) or int(sizes.sum()) != entries:
        raise WireError(f"sizes of rows do not add up to {entries} entries")
    wire = columns.decode_delta(message.bucket, entries)
    counts = columns.decode(message.count, entries)
    if entries and (int(wire.max()) > _MAX_BUCKET + 1 or int(counts.max()) >= 2**32 or int(counts.min()) < 1):
        raise WireError("a bucket or a count is out of range")
    starts = np.zeros(entries + 1, dtype=bool)
    starts[np.cumsum(sizes.astype(np.int64))] = True
    # A row's first entry need not be larger than the one before it.
    if entries > 1 and bool((np.diff(wire.astype(np.int64))[~starts[1:entries]] <= 0).any()):
        raise WireError("buckets of a row do not ascend")
    keys = np.where(wire == 0, sketch.ZERO, wire.astype(np.int64) - 1).astype(np.int16)
    return Buckets(sizes.astype(np.int64), keys, counts)
