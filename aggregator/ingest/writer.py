"""Write one block: every table once, under the block's id as token.

Hosts, statements and endpoints say the same again and again; they are written when they change and once a while, to
spare inserts (one costs milliseconds whatever its size). Skipping them loses nothing: their rows are descriptions, not
counts. Requests, totals, connections and agent_stats are always written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from aggregator.analysis.peers import Bounded
from aggregator.config import Limits
from aggregator.ingest.batch import Block, Part
from aggregator.ingest.content import Content
from aggregator.ingest.counted import Counted
from aggregator.ingest.merge import Merged, merge
from aggregator.ingest.tables import Tables
from aggregator.ingest.written import Written, agent_counts
from aggregator.request_metrics import Totals
from aggregator.storage.client import Store

_REPEAT_S = 30.0
_STATEMENT_REPEAT_S = 3600.0
_HOSTS, _STATEMENTS = 10_000, 200_000
#: The second insert of a block into one table: rows of another shape.
_SECOND = "/nothing"


class Writer:
    """Inserts blocks; thread-safe."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._lock = threading.Lock()
        self._said: Bounded[tuple[str, str], tuple[Any, float]] = Bounded(_HOSTS)
        self._statements: Bounded[int, float] = Bounded(_STATEMENTS)

    def write(self, block: Block) -> Written:
        """All rows of `block` are in the store when this returns; what they were, to be counted.

        Raises:
            StoreError: some may be; write the same block again.
        """
        merged = merge(block.parts)
        tables = Tables(merged)
        counted = Counted.of(merged)
        inserted: dict[str, int] = {}
        for table, rows in self._counted(merged, tables, counted):
            self._store.insert(table, rows, block.id)
            inserted[table] = rows.num_rows
        for table, rows, suffix, remember in self._described(merged, tables):
            self._store.insert(table, rows, block.id + suffix)
            inserted[table] = inserted.get(table, 0) + rows.num_rows
            with self._lock:
                remember()
        return Written(inserted, Totals.of(merged, counted), agent_counts(merged))

    def _counted(self, merged: Merged, tables: Tables, counted: Counted) -> Iterator[tuple[str, pa.Table]]:
        if merged.rows("requests"):
            yield "requests", tables.requests()
        if len(counted):
            yield "request_stats_10s", tables.request_stats(counted)
            statements = tables.statement_stats(counted, self._limits.statements)
            if statements is not None:
                yield "statement_stats_1m", statements
        if merged.rows("connections"):
            yield "connections", tables.connections()
        if merged.rows("agent_stats"):
            yield "agent_stats", tables.agent_stats()

    def _described(self, merged: Merged, tables: Tables) -> Iterator[tuple[str, pa.Table, str, Callable[[], None]]]:
        now = time.monotonic()
        latest = _latest(merged.parts)
        hosts = self._due("hosts", {part: _host(merged.parts[part].content) for part in latest}, merged, now)
        if hosts:
            yield "host_reports", tables.hosts([*hosts]), "", lambda: self._say("hosts", hosts, merged, now)
        listening = {part: _endpoints(merged.parts[part].content) for part in latest if _has(merged, part, "endpoints")}
        endpoints = self._due("endpoints", listening, merged, now)
        if endpoints:
            remember = lambda: self._say("endpoints", endpoints, merged, now)  # noqa: E731
            yield "endpoint_reports", tables.endpoints([*endpoints]), "", remember
        some = {part: True for part in latest if _has(merged, part, "in_flight")}
        if some:
            yield "in_flight_reports", tables.in_flight([*some]), "", lambda: self._say("flying", some, merged, now)
        with self._lock:
            none = {part: False for part in latest if part not in some and self._may_fly(merged, part)}
        if none:
            remember = lambda: self._say("flying", none, merged, now)  # noqa: E731
            yield "in_flight_reports", tables.nothing_in_flight([*none]), _SECOND, remember
        texts, ids = tables.statements(lambda one: self._is_fresh(one, now))
        if texts is not None:
            yield "statement_texts", texts, "", lambda: self._remember(ids, now)

    def _may_fly(self, merged: Merged, part: int) -> bool:
        before = self._said.get(("flying", merged.parts[part].content.host.name))
        return before is None or bool(before[0])

    def _due(self, what: str, told: dict[int, Any], merged: Merged, now: float) -> dict[int, Any]:
        """Parts whose host told something new, or last a while ago."""
        with self._lock:
            before = {part: self._said.get((what, merged.parts[part].content.host.name)) for part in told}
        return {
            part: said
            for part, said in told.items()
            if (last := before[part]) is None or last[0] != said or now - last[1] >= _REPEAT_S
        }

    def _say(self, what: str, told: dict[int, Any], merged: Merged, now: float) -> None:
        for part, said in told.items():
            self._said.set((what, merged.parts[part].content.host.name), (said, now))

    def _remember(self, statement_ids: list[int], now: float) -> None:
        for one in statement_ids:
            self._statements.set(one, now)

    def _is_fresh(self, statement_id: int, now: float) -> bool:
        with self._lock:
            written = self._statements.get(statement_id)
        return written is not None and now - written < _STATEMENT_REPEAT_S


def _latest(parts: Sequence[Part]) -> list[int]:
    """The last sealed part of each host: what it says of the present holds."""
    latest: dict[str, int] = {}
    for index, part in enumerate(parts):
        host = part.content.host
        known = latest.get(host.name)
        if known is None or host.seen_us >= parts[known].content.host.seen_us:
            latest[host.name] = index
    return sorted(latest.values())


def _has(merged: Merged, part: int, section: str) -> bool:
    return merged.parts[part].content.rows(section) > 0


def _host(content: Content) -> Any:
    host = content.host
    described = (host.kernel, host.os, host.agent_version, host.replay, host.started_us)
    return (*described, tuple(host.addresses), tuple(sorted(host.tags.items())))


def _endpoints(content: Content) -> int:
    rows = content.sections["endpoints"]
    return hash((rows["address"].tobytes(), rows["port"].tobytes(), tuple(content.strings)))
