"""Rows older than their table's retention are counted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from aggregator.config import Retention
from aggregator.metrics import Metrics
from aggregator.storage.late import LateRows

NOW = 1_800_000_000
DAY = 86_400


def late(metrics: Metrics, table: str) -> float:
    return metrics.registry.get_sample_value("sonde_rows_beyond_retention_total", {"table": table}) or 0


def test_rows_beyond_the_retention_are_counted_by_table() -> None:
    metrics = Metrics()
    rows = LateRows(Retention(), metrics, lambda: NOW)
    ages = np.array([0, 6 * DAY, 7 * DAY + 1, 8 * DAY])
    start = pa.array((NOW - ages) * 1_000_000, pa.timestamp("us", "UTC"))
    assert rows.count("requests", pa.table({"start": start})) == 2
    assert rows.count("requests", pa.table({"start": start[:2]})) == 0
    assert late(metrics, "requests") == 2
    assert rows.count("in_flight_reports", pa.table({"time": start})) == 0
    assert rows.count("requests", pa.table({"start": start[:0]})) == 0


def test_the_roll_ups_that_a_table_feeds_are_counted_by_their_own_retention() -> None:
    metrics = Metrics()
    ages = np.array([0, 8, 36, 401]) * DAY
    table = pa.table({"time": pa.array((NOW - ages).astype(np.uint32))})
    assert LateRows(Retention(), metrics, lambda: NOW).count("request_stats_10s", table) == 3
    assert [late(metrics, f"request_stats_{name}") for name in ("10s", "1m", "1h")] == [3, 2, 1]
