"""The agent's rows of the last minute that were not sent, to be asked for: the other half of a slow request.

Invariants: a row is handed out at most once; memory is bounded by bytes and seconds, the oldest block goes first; a
row that is asked for before it was seen is chosen when it comes, so the question may be faster than the answer. Rows
are kept as columns in the smallest integers that hold them, what a group of them has in common once: 40 bytes a row.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sonde.groups import Groups
from sonde.ids import exchange_ids

Array = npt.NDArray[Any]
U64 = npt.NDArray[np.uint64]
Columns = dict[str, Array]

_OF_ROW = (
    "statement", "status_code", "start", "duration", "queue", "receive", "process", "transfer", "gap", "request_bytes",
    "response_bytes", "ended_by", "offset", "flags",
)  # fmt: skip
_OF_GROUP = (
    "connection", "connection_id", "role", "pid", "comm", "local_ip", "local_port", "remote_ip", "remote_port",
    "protocol", "operation", "resource", "statement_id", "status",
)  # fmt: skip
_DIGESTS = 1 << 16
#: What an array and its place in a dictionary take beside its bytes.
_ARRAY_BYTES = 160


def _digest(exchange: U64) -> Array:
    return (exchange & np.uint64(_DIGESTS - 1)).astype(np.uint16)


@dataclass(frozen=True)
class _Small:
    """A column of integers less its minimum, in the smallest unsigned type."""

    column: Array
    low: Any

    @classmethod
    def of(cls, column: Array) -> _Small:
        low = column.min()
        return cls((column - low).astype(np.min_scalar_type(int(column.max()) - int(low))), low)

    def at(self, places: Array) -> Array:
        """Some of them, as they were."""
        out: Array = self.column[places].astype(self.low.dtype) + self.low
        return out


@dataclass
class _Block:
    at: float
    digest: Array
    group: Array
    common: Columns
    rows: dict[str, _Small]
    taken: set[int]

    @property
    def bytes(self) -> int:
        arrays = [self.digest, self.group, *self.common.values(), *(small.column for small in self.rows.values())]
        return sum(array.nbytes + _ARRAY_BYTES for array in arrays)

    def at_rows(self, places: Array) -> Columns:
        out = {name: column[self.group[places]] for name, column in self.common.items()}
        return out | {name: small.at(places) for name, small in self.rows.items()}


class Recent:
    """A ring of blocks. `want` may be called from any thread, everything else from one."""

    def __init__(self, seconds: float, max_bytes: int, wait_seconds: float = 15.0, max_wanted: int = 20_000) -> None:
        """`wait_seconds`: a row that was asked for and is not there yet is waited for so long."""
        self._seconds, self._max_bytes = seconds, max_bytes
        self._wait_seconds, self._max_wanted = wait_seconds, max_wanted
        self._blocks: deque[_Block] = deque()
        self._lock = threading.Lock()
        self._asked: list[int] = []
        self._open: dict[int, float] = {}
        self._open_ids: U64 = np.zeros(0, dtype=np.uint64)
        self.bytes = 0
        self.asked = self.found = self.missing = self.refused = 0

    @property
    def rows(self) -> int:
        """Rows kept now."""
        return sum(len(block.digest) for block in self._blocks)

    def want(self, exchanges: list[int]) -> None:
        """The aggregator asks for these; beyond the limit they are counted as refused."""
        with self._lock:
            room = max(self._max_wanted - len(self._asked) - len(self._open), 0)
            self._asked += exchanges[:room]
            self.asked += len(exchanges)
            self.refused += max(len(exchanges) - room, 0)

    def add(self, rows: Columns, exchange: U64, groups: Groups, common: Columns, now: float) -> None:
        """Keep a block of rows that are not sent, and their exchange_ids; `groups`, `common` as Sums.add gives them."""
        if not self._max_bytes:
            return
        group = np.empty(len(groups.order), dtype=np.min_scalar_type(len(groups)))
        group[groups.order] = groups.codes
        common = {name: common[name] for name in _OF_GROUP}
        block = _Block(now, _digest(exchange), group, common, {name: _Small.of(rows[name]) for name in _OF_ROW}, set())
        self._blocks.append(block)
        self.bytes += block.bytes
        self.expire(now)

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        while self._blocks and (self.bytes > self._max_bytes or now - self._blocks[0].at > self._seconds):
            self.bytes -= self._blocks.popleft().bytes

    @property
    def awaiting(self) -> bool:
        """Whether a row was asked for that has not come yet."""
        return bool(len(self._open_ids))

    def awaited(self, exchange: U64) -> npt.NDArray[np.bool_] | None:
        """Which rows of a new block were asked for already; None if nothing is awaited. They count as found."""
        if not self.awaiting:
            return None
        place = np.minimum(np.searchsorted(self._open_ids, exchange), len(self._open_ids) - 1)
        hit: npt.NDArray[np.bool_] = (self._open_ids[place] == exchange) & (exchange != 0)
        if hit.any():
            found = set(exchange[hit].tolist())
            self.found += len(found)
            for one in found:
                self._open.pop(one, None)
            self._index()
        return hit

    def _index(self) -> None:
        self._open_ids = np.sort(np.fromiter(self._open, dtype=np.uint64, count=len(self._open)))

    def halves(self, now: float) -> list[Columns]:
        """Rows that were asked for since the last call, with weight 0: their totals have been counted."""
        with self._lock:
            asked, self._asked = self._asked, []
        gone = [one for one, deadline in self._open.items() if deadline < now]
        for one in gone:
            del self._open[one]
        self.missing += len(gone)
        wanted = dict.fromkeys(asked)
        out = self._search(wanted) if wanted else []
        if wanted or gone:
            self._open.update(dict.fromkeys(wanted, now + self._wait_seconds))
            self._index()
        return out

    def _search(self, wanted: dict[int, None]) -> list[Columns]:
        table = np.zeros(_DIGESTS, dtype=bool)
        table[_digest(np.fromiter(wanted, dtype=np.uint64, count=len(wanted)))] = True
        out = []
        for block in reversed(self._blocks):
            places = np.flatnonzero(table[block.digest])
            if not len(places):
                continue
            rows = block.at_rows(places)
            exchange = exchange_ids(rows["connection_id"].astype(np.uint64), rows["offset"].astype(np.uint64))
            hits = [
                number
                for number, (place, one) in enumerate(zip(places.tolist(), exchange.tolist(), strict=True))
                if one and one in wanted and place not in block.taken
            ]
            if hits:
                found = {name: column[hits] for name, column in rows.items()}
                found |= {"weight": np.zeros(len(hits), dtype=np.uint64), "shown": found["statement"]}
                out.append(found)
                self.found += len(hits)
                block.taken.update(places[hits].tolist())
                for one in exchange[hits].tolist():
                    wanted.pop(one, None)
            if not wanted:
                break
        return out
