"""A store with the real schema and rows with known answers, in a process of its own."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from dashboard.config import DashboardSettings
from dashboard.source import Source
from tests.unit.dashboard import rows
from tests.unit.dashboard.engine import Engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("store"))
    now = datetime.now(timezone.utc)
    engine.insert("request_stats_10s", rows.stats())
    engine.insert("requests", rows.requests())
    engine.insert("host_reports", rows.hosts(now))
    engine.insert("agent_stats", rows.agent_stats())
    engine.insert("in_flight_reports", rows.in_flight(now))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def source(engine) -> Source:
    return Source(DashboardSettings(), connect=lambda: engine)
