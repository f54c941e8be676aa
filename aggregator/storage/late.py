"""Count rows that are stored although they are older than their table's retention.

An agent that was cut off for days delivers such rows. They are inserted like all others, so that the roll-ups that
reach further back hold them; the engine then drops them from the table that does not. The count says how many.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from aggregator.config import Retention
from aggregator.metrics import Metrics
from aggregator.storage.migrations import AGE_COLUMN

_DAY_US = 86_400_000_000
#: Tables that views fill from another one.
_FED = {"request_stats_10s": ("request_stats_1m", "request_stats_1h")}


class LateRows:
    """Looks at every table that is inserted."""

    def __init__(self, retention: Retention, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        self._days: dict[str, int] = retention.model_dump()
        self._metrics = metrics
        self._clock = clock

    def count(self, table: str, rows: pa.Table) -> int:
        """Rows of `rows` beyond the retention of `table`; adds them to the metric, also for the tables fed by it."""
        late = self._count(table, table, rows)
        for fed in _FED.get(table, ()):
            self._count(fed, table, rows)
        return late

    def _count(self, table: str, source: str, rows: pa.Table) -> int:
        days = self._days.get(table)
        if days is None or rows.num_rows == 0:
            return 0
        column = rows.column(AGE_COLUMN.get(source, "time"))
        edge_us = int(self._clock() * 1e6) - days * _DAY_US
        edge = edge_us if pa.types.is_timestamp(column.type) else max(edge_us // 1_000_000, 0)
        late = pc.sum(pc.less(column, pa.scalar(edge, column.type))).as_py() or 0
        if late:
            self._metrics.rows_late.labels(table).inc(late)
        return int(late)
