"""Exact sums of the requests that get no row: the section `unsampled` of the next batch.

Invariants: each request added is in one batch's sums, once; sums are 64-bit integers and sketches count every request,
so that totals do not depend on how many rows are sent. A group is one link, kind, status and 10 s; blocks are summed as
they come, so what waits for the next batch grows with the groups and not with the requests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.delivery.encoder import LINK_COLUMNS, Unsampled, concatenate
from sonde import batches
from sonde.groups import Groups
from sonde.sketches import Buckets

Array = npt.NDArray[Any]
Columns = dict[str, Array]

_BUCKET_US = np.uint64(10_000_000)
_TICK_NS = np.uint64(100)
_OF_GROUP = ("protocol", "operation", "resource", "statement_id", "status")
_SUMMED = ("requests", "request_bytes", "response_bytes", "duration", "queue", "receive", "process", "transfer")


def _groups(columns: Columns) -> Groups:
    return Groups.by([columns[name] for name in ("connection", "pid", *_OF_GROUP, "time")])


def _of_group(columns: Columns, groups: Groups) -> Columns:
    kept = (*LINK_COLUMNS, *_OF_GROUP, "statement", "time")
    out = {name: columns[name][groups.first] for name in kept}
    return out | {name: groups.sums(columns[name].astype(np.uint64)) for name in _SUMMED}


class Sums:
    """Gathers until `take`."""

    def __init__(self) -> None:
        self._parts: list[Unsampled] = []
        self.requests = 0

    @property
    def groups(self) -> int:
        """Groups that wait for `take`, before they are merged."""
        return sum(len(part.columns["time"]) for part in self._parts)

    def add(self, rows: Columns) -> tuple[Groups, Columns]:
        """Sum a block of at least one row; its groups and what each of them has in common."""
        end_us = rows["start"] + rows["duration"] // np.uint64(10)
        timed = rows | {"time": end_us // _BUCKET_US * _BUCKET_US, "requests": rows["weight"]}
        groups = _groups(timed)
        common = _of_group(timed, groups)
        sketches = {
            name: groups.buckets(rows[name].astype(np.uint64) * _TICK_NS, rows["weight"]) for name in batches.SKETCHES
        }
        self._parts.append(Unsampled(common, sketches))
        self.requests += len(end_us)
        return groups, common

    def take(self) -> Unsampled | None:
        """All sums since the last call, None without any."""
        parts, self._parts = self._parts, []
        if len(parts) < 2:
            return parts[0] if parts else None
        columns = concatenate([part.columns for part in parts])
        groups = _groups(columns)
        return Unsampled(
            _of_group(columns, groups),
            {
                name: groups.merged(Buckets.concatenate([part.sketches[name] for part in parts]))
                for name in batches.SKETCHES
            },
        )
