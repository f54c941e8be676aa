"""The disk guard on a real store: what goes, what stays, and that room is made."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aggregator.config import DiskGuard as Settings
from aggregator.metrics import Metrics
from aggregator.storage.client import Store, parse
from aggregator.storage.disk_guard import DiskGuard, Usage
from aggregator.storage.migrations import migrate

MIB = 1024 * 1024
TODAY = dt.datetime.now(dt.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(parse(f"chdb://{tmp_path}/store"), 512 * MIB)
    migrate(made)
    yield made
    made.close()


def fill(store: Store, table: str, days_ago: int, rows: int = 100) -> None:
    """Rows of random bytes, so that they do not compress."""
    at = int((TODAY - dt.timedelta(days=days_ago)).timestamp()) + 3600
    columns = {"host": pa.array([f"h{days_ago}"] * rows)}
    if table == "requests":
        columns["start"] = pa.array(np.full(rows, at * 1_000_000), pa.timestamp("us", "UTC"))
        columns["statement"] = pa.array([os.urandom(100).hex() for _ in range(rows)])
    elif table == "connections":
        columns["time"] = pa.array(np.full(rows, at * 1_000_000), pa.timestamp("us", "UTC"))
    else:
        columns["time"] = pa.array(np.full(rows, at, dtype=np.uint32))
    store.insert(table, pa.table(columns), f"{table}{days_ago}")


def partitions(store: Store, table: str) -> list[int]:
    """Days ago of the partitions left."""
    query = f"SELECT DISTINCT partition_id FROM system.parts WHERE active AND table = '{table}' ORDER BY 1 DESC"
    ids = [row["partition_id"] for row in store.named_rows(query)]
    return [(TODAY - dt.datetime.strptime(one, "%Y%m%d").replace(tzinfo=dt.timezone.utc)).days for one in ids]


class Disk:
    """A disk of 1 GiB whose free bytes follow what the store gave up."""

    def __init__(self, store: Store, free: int) -> None:
        self.store, self.free, self.held = store, free, self._held(store)

    def _held(self, store: Store) -> int:
        query = "SELECT sum(bytes_on_disk) AS b FROM system.parts WHERE active AND database = 'sonde'"
        return int(store.named_rows(query)[0]["b"])

    def __call__(self, _path: str) -> Usage:
        return Usage(1024 * MIB, self.free + self.held - self._held(self.store))


def made(store: Store, free: int, floor: int) -> tuple[DiskGuard, Metrics]:
    metrics = Metrics()
    return DiskGuard(store, Settings(min_free_bytes=floor, min_free_percent=0), metrics, Disk(store, free)), metrics


def test_nothing_goes_while_enough_is_free(store: Store) -> None:
    fill(store, "requests", 2)
    guard, metrics = made(store, 100, 100)
    assert guard.look() == []
    assert partitions(store, "requests") == [2]
    assert metrics.registry.get_sample_value("sonde_storage_free_bytes") == 100


def test_the_oldest_raw_rows_go_first_and_it_is_written_down(store: Store) -> None:
    for days in (0, 1, 2, 3):
        fill(store, "requests", days)
        fill(store, "request_stats_10s", days)
    fill(store, "connections", 3)
    query = "SELECT max(bytes_on_disk) AS b FROM system.parts WHERE active AND table = 'requests'"
    one = int(store.named_rows(query)[0]["b"])
    guard, metrics = made(store, 0, one + one // 2)
    gone = [(partition.table, partition.rows) for partition in guard.look()]
    assert gone[:2] == [("requests", 100), ("connections", 100)]
    assert set(gone[2:]) == {("requests", 100)}
    assert partitions(store, "requests") == [0, 1]
    assert partitions(store, "request_stats_10s") == [0, 1, 2, 3]
    assert guard.look() == []
    rows = store.named_rows("SELECT table_name, rows, until FROM dropped_partitions ORDER BY until, table_name")
    assert [(row["table_name"], row["rows"]) for row in rows] == [
        ("connections", 100),
        ("requests", 100),
        ("requests", 100),
    ]
    assert metrics.registry.get_sample_value("sonde_partitions_dropped_total", {"table": "requests"}) == 2
    assert metrics.registry.get_sample_value("sonde_partition_rows_dropped_total", {"table": "requests"}) == 200


def test_today_stays_and_nothing_goes_if_it_would_not_help(store: Store, caplog) -> None:
    for days in (0, 1):
        fill(store, "requests", days)
    guard, metrics = made(store, 0, 512 * MIB)
    for _ in range(3):
        assert guard.look() == []
    assert partitions(store, "requests") == [0, 1]
    assert metrics.registry.get_sample_value("sonde_storage_guard_stuck") == 1
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert "nothing is dropped" in caplog.text


def test_an_insert_may_hold_more_days_than_the_engine_allows_by_itself(store: Store) -> None:
    at = int(TODAY.timestamp()) * 1_000_000
    days = pa.array(at - np.arange(150) * 86_400_000_000, pa.timestamp("us", "UTC"))
    store.insert("connections", pa.table({"host": ["h"] * 150, "time": days}), "many")
    found = store.named_rows("SELECT uniqExact(partition_id) AS n FROM system.parts WHERE table = 'connections'")
    assert found[0]["n"] > 100


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs; run as root")
def test_a_small_disk_gets_its_room_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "sonde-test", str(disk)], check=True)
    try:
        store = Store(parse(f"chdb://{disk}/store"), 512 * MIB)
        try:
            migrate(store)
            for days in (6, 5, 4, 3, 2, 1, 0):
                fill(store, "requests", days, 40_000)
            guard = DiskGuard(store, Settings(min_free_bytes=0, min_free_percent=70), Metrics())
            total = os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize
            deadline = time.monotonic() + 60
            dropped = []
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize < 0.7 * total:
                assert time.monotonic() < deadline, "no room was made"
                dropped += guard.look()
                time.sleep(0.2)
            assert dropped
            left = partitions(store, "requests")
            assert left == list(range(len(left)))
            assert 0 in left
        finally:
            store.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
