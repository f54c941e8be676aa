"""Retention is a setting: a changed one takes effect at the next start."""

from __future__ import annotations

import json
import time
from pathlib import Path

from aggregator.config import Retention
from aggregator.storage.client import Store, parse
from aggregator.storage.migrations import migrate, set_retention
from tests.integration.storage.test_late import DAY_S, NOW_S, deliver, intervals
from tests.support.aggregators import Aggregator
from tests.support.commands import sonde


def retention(made: Aggregator, table: str) -> int:
    """Days, as `sonde storage` tells them."""
    told = json.loads(sonde("storage", "--url", f"http://127.0.0.1:{made.sql}", "--format", "json").stdout)
    return next(one["retention_days"] for one in told["tables"] if one["name"] == table)


def test_a_shorter_retention_drops_old_rows_and_a_longer_one_keeps_what_is_left(tmp_path: Path) -> None:
    waits = {"PEERS__SETTLE_S": "0", "PEERS__WAIT_S": "1"}
    shorter = {"STORAGE__RETENTION_DAYS__REQUESTS": "1", "STORAGE__RETENTION_DAYS__REQUEST_STATS_10S": "2"}
    made = Aggregator(tmp_path, **waits).start()
    try:
        deliver(made, "r-web", [NOW_S - 3 * DAY_S, NOW_S - 60])
        assert len(intervals(made, "10s", "r-web")) == 2
        assert made.stop() == 0
        for _ in range(2):  # a start that changes nothing leaves it as it is
            made = Aggregator(tmp_path, **waits, **shorter).start()
            assert (retention(made, "requests"), retention(made, "request_stats_10s")) == (1, 2)
            deadline = time.monotonic() + 60
            while made.query("SELECT count() FROM requests") != [["1"]] or len(intervals(made, "10s", "r-web")) != 1:
                assert time.monotonic() < deadline, "old rows are still there"
                time.sleep(0.2)
            assert len(intervals(made, "1m", "r-web")) == 2
            assert made.query("SELECT count() FROM system.mutations WHERE NOT is_done") == [["0"]]
            assert made.stop() == 0
        made = Aggregator(tmp_path, **waits).start()
        assert retention(made, "requests") == 7
        assert made.query("SELECT count() FROM requests") == [["1"]]
    finally:
        made.stop()


def test_a_retention_that_is_set_is_not_set_again(tmp_path: Path) -> None:
    store = Store(parse(f"chdb://{tmp_path}/store"), 512 * 1024 * 1024)
    try:
        migrate(store)
        asked: list[str] = []
        command = store.command
        store.command = lambda sql, given=None: (asked.append(sql), command(sql, given))[1]  # type: ignore[method-assign]
        set_retention(store, Retention())
        assert asked == []
        set_retention(store, Retention(requests=3, statement_texts=5))
        assert len(asked) == 2
        set_retention(store, Retention(requests=3, statement_texts=5))
        assert len(asked) == 2
    finally:
        store.close()
