"""Gathers batches into blocks, and hands out blocks: new ones, and those to be inserted again.

Invariants: a batch is in one block, in the order of arrival; a block holds at most `rows` rows, `bytes` bytes and days
that lie `_SPAN_DAYS` apart, or one batch; the oldest batch waits at most `delay_s` for others while a worker is free.
Days are limited since an insert makes a part per table and day; a host whose clock is years off gets blocks of its own.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aggregator.ingest.batch import Block, Part
from sonde import batches

_DAY_US = 86_400_000_000
_SPAN_DAYS = 60


@dataclass(frozen=True)
class _Arrived:
    part: Part
    at: float
    rows: int
    first_day: int
    last_day: int


def _days(part: Part) -> tuple[int, int]:
    """First and last day of its rows."""
    columns = [part.content.sections[name].get("start", part.content.sections[name].get("time")) for name in _TIMED]
    times = [np.array([column.min(), column.max()]) for column in columns if column is not None and column.size]
    if not times:
        return part.received_us // _DAY_US, part.received_us // _DAY_US
    both = np.concatenate(times)
    return int(both.min()) // _DAY_US, int(both.max()) // _DAY_US


_TIMED = [name for name, columns in batches.SECTIONS.items() if "start" in columns or "time" in columns]


class Collector:
    """Between those who bring batches and the threads that insert blocks."""

    def __init__(self, rows: int, size_bytes: int, delay_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows, self._bytes, self._delay_s = rows, size_bytes, delay_s
        self._clock = clock
        self._changed = threading.Condition()
        self._arrived: deque[_Arrived] = deque()
        self._arrived_rows = self._arrived_bytes = 0
        self._again: list[tuple[float, int, Block]] = []
        self._order = itertools.count()
        self._closed = False

    def put(self, part: Part) -> None:
        """A batch for one of the next blocks."""
        rows = sum(part.content.rows(name) for name in batches.SECTIONS if name != "links")
        arrived = _Arrived(part, self._clock(), rows, *_days(part))
        with self._changed:
            self._arrived.append(arrived)
            self._arrived_rows += rows
            self._arrived_bytes += part.sealed.content_bytes
            self._changed.notify()

    def again(self, block: Block, after_s: float) -> None:
        """Hand out `block` once more in `after_s` seconds."""
        with self._changed:
            heapq.heappush(self._again, (self._clock() + after_s, next(self._order), block))
            self._changed.notify()

    def close(self) -> None:
        """No more batches: what is there is handed out now, what failed before is not."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def next(self) -> Block | None:
        """The next block, as soon as there is one; None when closed and empty."""
        with self._changed:
            while True:
                now = self._clock()
                if self._again and self._again[0][0] <= now and not self._closed:
                    return heapq.heappop(self._again)[2]
                if self._arrived:
                    full = self._arrived_rows >= self._rows or self._arrived_bytes >= self._bytes
                    due = self._arrived[0].at + self._delay_s
                    if full or self._closed or due <= now:
                        return self._take()
                elif self._closed:
                    return None
                moments = [self._again[0][0]] if self._again else []
                moments += [self._arrived[0].at + self._delay_s] if self._arrived else []
                self._changed.wait(max(0.0, min(moments) - now) if moments else None)

    def _take(self) -> Block:
        parts: list[Part] = []
        rows = size = first = last = 0
        while self._arrived:
            one = self._arrived[0]
            if parts:
                first, last = min(first, one.first_day), max(last, one.last_day)
                too_much = rows + one.rows > self._rows or size + one.part.sealed.content_bytes > self._bytes
                if too_much or last - first > _SPAN_DAYS:
                    break
            else:
                first, last = one.first_day, one.last_day
            self._arrived.popleft()
            parts.append(one.part)
            rows += one.rows
            size += one.part.sealed.content_bytes
        self._arrived_rows -= rows
        self._arrived_bytes -= size
        if self._arrived:
            self._changed.notify()
        return Block(uuid.uuid4().hex, time.time_ns() // 1000, tuple(parts))
