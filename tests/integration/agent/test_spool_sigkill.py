"""An agent's spool and stream killed in mid-send, again and again: every sealed batch is stored once.

The sealing process is the agent without its probes: the real spool, the real stream, the real aggregator. It writes
down the rows of a batch when `seal` has returned; from then on they must be in the store exactly once, whenever the
SIGKILL comes.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from node_agent.config import AgentSettings
from node_agent.delivery.spool import Spool
from node_agent.delivery.stream import Delivery
from tests.support.aggregators import ROOT, Aggregator
from tests.support.batches import Builder

_KILLS, _SEED = 10, 20261121

SENDER = """
import sys, time
from node_agent.config import AgentSettings
from node_agent.delivery.spool import Spool
from node_agent.delivery.stream import Delivery
from tests.support.batches import Builder

path, port, first, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
spool = Spool("spooled", 1 << 30, path)
delivery = Delivery(AgentSettings(host_name="spooled", aggregator=[f"127.0.0.1:{port}"]), spool)
print("spool", spool.id.hex(), spool.waiting, spool.dropped, flush=True)
delivery.start()
number, end = first, time.monotonic() + seconds
while time.monotonic() < end:
    builder = Builder("spooled", ["10.9.0.1"])
    link = builder.link("client", "nginx", "10.9.0.1", 40_000, "10.9.0.2", 80, number)
    for row in range(13):
        builder.request(link, duration_us=1000 + row, resource=f"/{number}")
    spool.seal(builder.build())
    print("sealed", number, flush=True)
    number += 1
    time.sleep(0.003)
print("drained", delivery.close(60), spool.acknowledged, flush=True)
spool.close()
"""


def sender(path: Path, port: int, first: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SENDER, str(path), str(port), str(first), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_every_sealed_batch_is_stored_once(tmp_path: Path) -> None:
    rng = random.Random(_SEED)
    path = tmp_path / "agent" / "spool.db"
    aggregator = Aggregator(tmp_path, PEERS__SETTLE_S="0", PEERS__WAIT_S="0").start()
    sealed: set[int] = set()
    ids, waited = set(), 0
    try:
        for number in range(_KILLS):
            first = (number + 1) * 10_000
            if number == _KILLS // 2:
                aggregator.kill()  # a backlog, and a store that was cut off as well
            if number == _KILLS // 2 + 2:
                aggregator.start()
            with sender(path, aggregator.grpc, first, 600) as child:
                assert child.stdout is not None
                _, name, waiting, dropped = child.stdout.readline().split()
                ids.add(name)
                waited += int(waiting)
                assert int(dropped) <= 1, "at most the one whose seal had not returned"
                time.sleep(rng.uniform(0.1, 1.0))
                child.kill()
                lines = child.stdout.read().split("\n")[:-1]
            sealed |= {int(line.split()[1]) for line in lines}
        with sender(path, aggregator.grpc, 900_000, 0.2) as child:
            out, _ = child.communicate(timeout=120)
        *lines, last = out.splitlines()
        assert last.startswith("drained True"), out
        sealed |= {int(line.split()[1]) for line in lines if line.startswith("sealed")}
        assert waited, "no kill left anything to send"
        assert len(ids) == 1
        rows = aggregator.query("SELECT resource, count() FROM requests WHERE host = 'spooled' GROUP BY resource")
        stored = {int(resource[1:]): int(count) for resource, count in rows}
        assert set(stored.values()) == {13}, "a batch is there once, and whole"
        assert not sealed - set(stored), "sealed, and not in the store"
        extra = set(stored) - sealed  # committed, but the process died before it could write that down
        assert len(extra) <= _KILLS
        assert aggregator.query("SELECT sum(requests) FROM request_stats_1h WHERE host = 'spooled'") == [
            [str(13 * len(stored))]
        ]
        assert aggregator.query(
            "SELECT count(), uniqExact(sequence), uniqExact(spool_id) FROM accepted_batches WHERE agent = 'spooled'"
        ) == [[str(len(stored)), str(len(stored)), "1"]]
    finally:
        aggregator.stop()


def test_a_batch_that_is_refused_for_good_goes_into_quarantine_and_the_next_is_stored(tmp_path: Path) -> None:
    aggregator = Aggregator(tmp_path, PEERS__SETTLE_S="0", PEERS__WAIT_S="0").start()
    spool = Spool("refused", 1 << 30, str(tmp_path / "agent" / "spool.db"))
    delivery = Delivery(AgentSettings(host_name="refused", aggregator=[f"127.0.0.1:{aggregator.grpc}"]), spool)
    try:
        good, bad = Builder("refused", ["10.9.1.1"]), Builder("refused", ["10.9.1.1"])
        good.request(good.link("client", "nginx", "10.9.1.1", 40_000, "10.9.1.2", 80, 1))
        broken = bad.build()
        broken.requests.rows = 7
        spool.seal(broken)
        spool.seal(good.build())
        delivery.start()
        assert delivery.close(30)
        assert (spool.refused, spool.acknowledged, spool.quarantined, spool.waiting) == (1, 1, 1, 0)
        assert aggregator.query("SELECT count() FROM requests WHERE host = 'refused'") == [["1"]]
    finally:
        spool.close()
        aggregator.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "agent" / "spool.db")) as sql:
        assert sql.execute("SELECT code FROM quarantine").fetchall() == [("BAD_COLUMNS",)]
