"""One test body for both storage backends: an aggregator with the embedded engine, and one with clickhouse://."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.aggregators import Aggregator
from tests.support.clickhouse import Server


@pytest.fixture(scope="module", params=["chdb", "clickhouse"])
def aggregator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    """Ready; its `query` asks the embedded engine's port or the stand-in for a server."""
    folder = tmp_path_factory.mktemp(request.param)
    server = Server(folder).wait() if request.param == "clickhouse" else None
    try:
        made = Aggregator(folder, server.port if server else 0, PEERS__SETTLE_S="0", PEERS__WAIT_S="1").start()
        yield made
        made.stop()
    finally:
        if server:
            server.stop()
