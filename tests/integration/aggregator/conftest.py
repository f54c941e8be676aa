"""One aggregator process per module; tests use hosts and agents of their own names, so that they do not meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.aggregators import Aggregator


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    """Ready; waits half a second for peers, to keep tests short."""
    made = Aggregator(tmp_path_factory.mktemp("aggregator"), PEERS__SETTLE_S="0", PEERS__WAIT_S="3").start()
    yield made
    made.stop()
