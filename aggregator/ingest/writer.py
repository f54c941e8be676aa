"""Write one batch: every table once, under a token that belongs to this batch and table alone.

Hosts, statements and endpoints say the same again and again; they are written when they change and once a while, to
spare inserts (one costs milliseconds whatever its size). Skipping them loses nothing: their rows are descriptions, not
counts. Requests, totals, connections and agent_stats are always written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from aggregator.analysis.peers import Bounded
from aggregator.config import Limits
from aggregator.ingest.content import Content
from aggregator.ingest.counted import Counted
from aggregator.ingest.ledger import BatchId
from aggregator.ingest.tables import Ends, Tables
from aggregator.metrics import Metrics
from aggregator.storage.client import Store

_REPEAT_S = 30.0
_STATEMENT_REPEAT_S = 3600.0
_HOSTS, _STATEMENTS = 10_000, 200_000


class Writer:
    """Inserts batches; thread-safe."""

    def __init__(self, store: Store, limits: Limits, metrics: Metrics) -> None:
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._lock = threading.Lock()
        self._said: Bounded[tuple[str, str], tuple[Any, float]] = Bounded(_HOSTS)
        self._statements: Bounded[int, float] = Bounded(_STATEMENTS)

    def write(self, batch: BatchId, content: Content, ends: Ends) -> None:
        """All rows of `content` are in the store when this returns.

        Raises:
            StoreError: some may be; write the same batch again.
        """
        tables = Tables(content, ends)
        for table, rows in self._counted(content, tables):
            self._insert(table, rows, batch)
        for table, rows, remember in self._described(content, tables):
            self._insert(table, rows, batch)
            with self._lock:
                remember()

    def _insert(self, table: str, rows: pa.Table, batch: BatchId) -> None:
        self._store.insert(table, rows, batch.token(table))
        self._metrics.rows.labels(table).inc(rows.num_rows)

    def _counted(self, content: Content, tables: Tables) -> Iterator[tuple[str, pa.Table]]:
        if content.rows("requests"):
            yield "requests", tables.requests()
        counted = Counted.of(content)
        if len(counted):
            yield "request_stats_10s", tables.request_stats(counted)
            statements = tables.statement_stats(counted, self._limits.statements)
            if statements is not None:
                yield "statement_stats_1m", statements
        if content.rows("connections"):
            yield "connections", tables.connections()
        if content.rows("agent_stats"):
            yield "agent_stats", tables.agent_stats()

    def _described(self, content: Content, tables: Tables) -> Iterator[tuple[str, pa.Table, Any]]:
        now, host = time.monotonic(), content.host
        described = (host.kernel, host.os, host.agent_version, host.replay, host.started_us)
        told = (*described, tuple(host.addresses), tuple(sorted(host.tags.items())))
        if self._is_due(("hosts", host.name), told, now):
            yield "host_reports", tables.hosts(), lambda: self._said.set(("hosts", host.name), (told, now))
        rows = content.sections["endpoints"]
        if content.rows("endpoints"):
            listening = hash((rows["address"].tobytes(), rows["port"].tobytes(), tuple(content.strings)))
            if self._is_due(("endpoints", host.name), listening, now):
                key = ("endpoints", host.name)
                yield "endpoint_reports", tables.endpoints(), lambda: self._said.set(key, (listening, now))
        some = content.rows("in_flight") > 0
        before = self._said.get(("in_flight", host.name))
        if some or before is None or before[0]:
            rows_now = tables.in_flight(time.time_ns() // 1000)
            yield "in_flight_reports", rows_now, lambda: self._said.set(("in_flight", host.name), (some, now))
        texts, ids = tables.statements(lambda one: self._is_fresh(one, now))
        if texts is not None:
            yield "statement_texts", texts, lambda: self._remember(ids, now)

    def _remember(self, statement_ids: list[int], now: float) -> None:
        for one in statement_ids:
            self._statements.set(one, now)

    def _is_due(self, key: tuple[str, str], told: Any, now: float) -> bool:
        with self._lock:
            before = self._said.get(key)
        return before is None or before[0] != told or now - before[1] >= _REPEAT_S

    def _is_fresh(self, statement_id: int, now: float) -> bool:
        with self._lock:
            written = self._statements.get(statement_id)
        return written is not None and now - written < _STATEMENT_REPEAT_S
