"""Drop the oldest partitions of the embedded store before its disk is full.

Invariants:
- Nothing is dropped while as much is free as storage.guard asks for.
- Raw tables go before roll-ups, oldest first; a partition that holds any of today stays (partitions.py).
- Nothing is dropped that would not help: if all that may go holds less than what is missing, nothing goes, since then
  something else fills the disk. The log says so once; when the disk is full inserts fail, and agents keep their
  batches.
- What goes is written to the table dropped_partitions first, then dropped, logged and counted.

A failure of the engine is logged and tried again at the next look. A server's disk is not guarded: clickhouse:// has
the server's own means.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from aggregator.config import DiskGuard as DiskGuardSettings
from aggregator.metrics import Metrics
from aggregator.storage import partitions
from aggregator.storage.client import Store, query_text
from aggregator.storage.partitions import Partition
from sonde import logs
from sonde.errors import StoreError

_log = logs.get(__name__)

#: A look in work may hang on the store; the process ends all the same.
_STOP_S = 2.0


@dataclass(frozen=True)
class Usage:
    """Bytes of a file system: of all, and those that this process may still write."""

    total: int
    free: int


def usage_of(path: str) -> Usage:
    """Of the file system that holds `path`; raises OSError."""
    found = os.statvfs(path)
    return Usage(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class DiskGuard:
    """A thread that looks every storage.guard.every_s."""

    def __init__(
        self,
        store: Store,
        settings: DiskGuardSettings,
        metrics: Metrics,
        usage: Callable[[str], Usage] = usage_of,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._usage = usage
        self._stuck = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disk-guard", daemon=True)

    def start(self) -> None:
        """Look from now on; does nothing for a server, or when both limits are 0."""
        if self._store.url.embedded and (self._settings.min_free_bytes or self._settings.min_free_percent):
            self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except (StoreError, OSError) as error:
                _log.error("the disk guard cannot work and tries again", error=str(error))
            if self._stopping.wait(self._settings.every_s):
                return

    def floor(self, usage: Usage) -> int:
        """Bytes that must stay free: the larger of the two limits."""
        return max(self._settings.min_free_bytes, int(usage.total * self._settings.min_free_percent / 100))

    def look(self) -> list[Partition]:
        """Look once; what was dropped.

        Raises:
            StoreError: the engine refused.
            OSError: the disk cannot be asked.
        """
        usage = self._usage(self._store.url.path)
        floor = self.floor(usage)
        self._metrics.disk_free.set(usage.free)
        self._metrics.disk_floor.set(floor)
        if usage.free >= floor:
            self._say_stuck(False)
            return []
        rows = self._store.rows("partitions", {"tables": list(partitions.TABLES)})
        order = partitions.candidates(partitions.read(rows), dt.datetime.now(dt.timezone.utc))
        chosen = partitions.enough(order, floor - usage.free)
        if not chosen:
            self._say_stuck(True, usage.free, floor, sum(one.bytes for one in order))
            return []
        self._say_stuck(False)
        for one in chosen:
            self._drop(one, usage.free)
        return chosen

    def _say_stuck(self, stuck: bool, free: int = 0, floor: int = 0, held: int = 0) -> None:
        if stuck and not self._stuck:
            _log.error(
                "the disk is nearly full and dropping old partitions would not help: nothing is dropped; free it of "
                "other files, or lower storage.retention_days",
                free_bytes=free, floor_bytes=floor, droppable_bytes=held,
            )  # fmt: skip
        self._stuck = stuck
        self._metrics.disk_guard_stuck.set(stuck)

    def _drop(self, one: Partition, free: int) -> None:
        self._store.command(
            query_text("record_drop"),
            {
                "table": one.table,
                "partition": one.id,
                "until": int(one.until.timestamp()),
                "rows": one.rows,
                "bytes": one.bytes,
                "free": free,
            },
        )
        self._store.command(query_text("drop_partition"), {"table": one.table, "partition": one.id})
        self._metrics.partitions_dropped.labels(one.table).inc()
        self._metrics.rows_dropped.labels(one.table).inc(one.rows)
        _log.warning(
            "partition dropped, the disk is nearly full",
            table=one.table, partition=one.id, rows=one.rows, bytes=one.bytes, free_bytes=free,
        )  # fmt: skip
