"""What the totals of a block are made of: its rows by their weight, and its exact sums of requests without a row.

Invariants: every request of the block is in here once. A row with weight 0 is not: it was asked for as the other half
of a slow request, and `unsampled` of this or an earlier batch has counted it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregator.ingest.content import Columns
from aggregator.ingest.merge import Merged
from sonde import sketch
from sonde.groups import U64, Groups
from sonde.sketches import Buckets

_BUCKET_S = np.uint64(10)
_US = np.uint64(1_000_000)
_TICK_NS = np.uint64(100)

SUMS = ("duration", "queue", "receive", "process", "transfer")
_KEYS = ("part", "link", "protocol", "operation", "resource", "status", "statement_id")


@dataclass(frozen=True)
class Counted:
    """n lines, each of one request or of several that are alike.

    `columns`, (n,), codes as in Merged, else uint64: part, link, protocol, operation, resource, status, statement_id;
    time, Unix s, the start of the 10 s of completion; requests; unsampled, how many of them have no row; estimated, 0
    or 1; request_bytes, response_bytes; and sums in ns of duration, queue, receive, process, transfer.
    """

    columns: Columns
    _rows: dict[str, U64]
    _weight: U64
    _unsampled: dict[str, Buckets]

    @classmethod
    def of(cls, merged: Merged) -> Counted:
        """All requests of a block."""
        rows, sums = merged.sections["requests"], merged.sections["unsampled"]
        if not rows["weight"].all():
            kept = rows["weight"] != 0
            rows = {name: column[kept] for name, column in rows.items()}
        weight, more = rows["weight"], sums["requests"]
        end_s = (rows["start"] + rows["duration"] // np.uint64(10)) // _US
        parts = {name: (rows[name], sums[name]) for name in _KEYS}
        parts["time"] = (end_s, sums["time"] // _US)
        parts["requests"] = (weight, more)
        parts["unsampled"] = (np.zeros_like(weight), more)
        parts["estimated"] = ((weight != 1).astype(np.uint64), np.zeros_like(more))
        for name in ("request_bytes", "response_bytes"):
            parts[name] = (rows[name] * weight, sums[name])
        nanoseconds = {name: rows[name] * _TICK_NS for name in SUMS}
        for name in SUMS:
            parts[name] = (nanoseconds[name] * weight, sums[name] * _TICK_NS)
        columns = {name: np.concatenate(pair) if len(more) else pair[0] for name, pair in parts.items()}
        columns["time"] = columns["time"] // _BUCKET_S * _BUCKET_S
        return cls(columns, nanoseconds, weight, merged.sketches if len(more) else {})

    def __len__(self) -> int:
        return len(self.columns["link"])

    def sketches(self, name: str, groups: Groups) -> Buckets:
        """One sketch per group of these lines; `name` is one of batches.SKETCHES."""
        if not self._unsampled:
            return groups.buckets(self._rows[name], self._weight)
        parts = [Buckets.of(self._rows[name], self._weight), self._unsampled[name]]
        return groups.merged(Buckets.concatenate(parts))

    def histogram(self, name: str, groups: Groups, bounds_ns: U64) -> U64:
        """Requests of each group by duration: up to each of the ascending bounds, then beyond; (g, bounds + 1).

        `groups` are of these lines, `name` is one of batches.SKETCHES. What has no row is placed by its sketch's value.
        """
        group, rows, slots = np.empty(len(self), dtype=np.int64), len(self._weight), len(bounds_ns) + 1
        group[groups.order] = groups.codes
        code = group[:rows] * slots + np.searchsorted(bounds_ns, self._rows[name])
        count = self._weight
        if self._unsampled:
            buckets = self._unsampled[name]
            line = np.repeat(np.arange(rows, len(self)), buckets.sizes)
            more = group[line] * slots + np.searchsorted(bounds_ns, sketch.value(buckets.keys))
            code, count = np.concatenate([code, more]), np.concatenate([count, buckets.counts])
        summed = np.bincount(code, weights=count, minlength=len(groups) * slots)  # exact below 2^53
        return summed.astype(np.uint64).reshape(len(groups), slots)

    def where(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Counted:
        """The lines of `mask`, shape (n,)."""
        rows = len(self._weight)
        of_rows, of_sums = mask[:rows], mask[rows:]
        return Counted(
            {name: column[mask] for name, column in self.columns.items()},
            {name: column[of_rows] for name, column in self._rows.items()},
            self._weight[of_rows],
            {name: buckets.where(of_sums) for name, buckets in self._unsampled.items()},
        )
