"""What the agent says of its spool: in agent_stats and on /metrics."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from node_agent.config import AgentSettings
from node_agent.delivery.spool_file import SpoolFile
from node_agent.delivery.stream import Delivery
from node_agent.rows import Tally
from node_agent.stats import Stats
from tests.support.spools import batch, make


class NoProbes:
    broken: tuple[str, ...] = ()

    def counters(self) -> list[tuple[str, dict[str, int]]]:
        return []


def agent_row(stats: Stats) -> dict[str, Any]:
    return next(row for row in stats.rows(1) if row["probe"] == "agent")


def gauges(stats: Stats) -> dict[str, float]:
    return {metric.name: metric.samples[0].value for metric in stats.collect() if len(metric.samples) == 1}


def test_a_failing_disk_shows_until_it_works(folder: Path) -> None:
    moment = [0.0]
    spool = make(folder / "spool.db", monotonic=lambda: moment[0])
    delivery = Delivery(AgentSettings(aggregator=["127.0.0.1:1", "127.0.0.1:2"]), spool)
    stats = Stats(NoProbes(), spool, Tally(), delivery)  # type: ignore[arg-type]
    spool.seal(batch(1))
    row = agent_row(stats)
    assert "spool_failing" not in row["details"]
    assert row["spooled_bytes"] == spool.waiting_bytes > 0
    assert gauges(stats)["sonde_agent_spool_durable"] == 1
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        patch.setattr(SpoolFile, "append", refuse)
        spool.seal(batch(2))
        row = agent_row(stats)
        assert (row["details"]["spool_failing"], row["details"]["spool_failures"]) == (1, 1)
        shown = gauges(stats)
        assert (shown["sonde_agent_spool_durable"], shown["sonde_agent_spool_failing"]) == (0, 1)
        assert shown["sonde_agent_spooled_batches"] == 2
    moment[0] = 3600.0
    spool.seal(batch(3))
    spool.refuse(1, "MALFORMED", "no")
    row = agent_row(stats)
    assert "spool_failing" not in row["details"]
    assert (row["details"]["batches_refused"], row["dropped_batches"]) == (1, 1)
    shown = gauges(stats)
    assert (shown["sonde_agent_spool_failing"], shown["sonde_agent_spool_quarantined_batches"]) == (0, 1)
    spool.close()
