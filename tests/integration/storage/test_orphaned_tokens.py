"""What SIGKILL leaves of an insert between its token and its part: the repeat is stored, in the views as well."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.aggregators import ROOT

NOW_S = int(time.time())  # retention counts from it

INSERT = """
import sys
import pyarrow as pa
from aggregator.storage import migrations, orphaned_tokens
from aggregator.storage.client import Store, parse

if sys.argv[2] == "as the engine is":
    orphaned_tokens.remove = lambda store: 0
store = Store(parse(f"chdb://{sys.argv[1]}"), 1 << 30)
migrations.migrate(store)
for token in sys.argv[4:]:
    time = pa.array([int(sys.argv[3])], pa.uint32())
    store.insert("request_stats_10s", pa.table({"time": time, "requests": pa.array([1], pa.uint64())}), token)
for table in ("request_stats_10s", "request_stats_1h"):
    print(store.client().query(f"SELECT sum(requests) FROM {table}").result_rows[0][0])
store.close()
"""


def insert(store: Path, how: str, *tokens: str) -> list[int]:
    """Requests in the 10 s and the hourly totals after an insert for each token."""
    command = [sys.executable, "-c", INSERT, str(store), how, str(NOW_S), *tokens]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return [int(line) for line in ran.stdout.split()]


def cut_short(store: Path, partition: str) -> None:
    """Take the second part of a partition away, as if the engine had been killed before it named it."""
    (part,) = store.glob(f"store/*/*/{partition}_2_2_0")
    shutil.rmtree(part)


@pytest.mark.parametrize(("how", "stored"), [("as the engine is", [1, 1]), ("repaired", [2, 2])])
def test_an_insert_that_was_cut_short_can_be_repeated(tmp_path: Path, how: str, stored: list[int]) -> None:
    store = tmp_path / "store"
    assert insert(store, how, "a", "b") == [2, 2]
    cut_short(store, time.strftime("%Y%m%d", time.gmtime(NOW_S)))  # request_stats_10s
    cut_short(store, time.strftime("%Y%m", time.gmtime(NOW_S)))  # request_stats_1h
    assert insert(store, how, "b") == stored
    assert insert(store, how, "a", "b") == stored
