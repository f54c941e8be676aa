"""`sonde verify`: agrees over what the pipeline stored, on both backends, and finds each kind of wrong row."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from aggregator.sql_client import SqlPort
from aggregator.storage.templates import Target
from aggregator.storage.verify import run
from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder
from tests.support.clickhouse import Server
from tests.support.commands import change, sonde

#: A closed hour within every retention, and away from its edges.
HOUR_S = int(time.time()) // 3600 * 3600 - 5 * 3600
AT_S = HOUR_S + 1230


def deliver(aggregator: Aggregator) -> None:
    """Two hosts, rows of hours, statements, rows that stand for several, and the agent's own count of them."""
    for number, host in enumerate(("v-web", "v-db")):
        agent = Agent(aggregator.grpc, host)
        for hour in range(3):
            builder = Builder(host, [f"10.7.0.{number}"], now_us=(HOUR_S + hour * 3600 + 1800) * 1_000_000)
            link = builder.link("server", "db", f"10.7.0.{number}", 3306, "203.0.113.9", 40_000)
            for request in range(100):
                start = (HOUR_S + hour * 3600) * 1_000_000 + request * 7_777_777
                builder.request(
                    link, start=start, duration_us=1000 * request, statement_id=request % 3, protocol=pb.MYSQL,
                    weight=request % 5,
                )  # fmt: skip
            builder.agent_stats("agent", {"requests": 200})
            assert agent.deliver(builder.seal(hour + 1)).ack.sequence == hour + 1
        agent.close()


def verify(aggregator: Aggregator) -> list[str]:
    """The lines that tell a difference."""
    port = SqlPort(f"http://127.0.0.1:{aggregator.sql}")
    checks = list(run(port.rows, Target(), look_again_s=0.1))
    assert len(checks) == 6
    assert [check for check in checks if bool(check.differences) != ("DIFFER" in check.summary)] == []
    assert [check.summary for check in checks if "no closed" in check.summary] == []
    return [line for check in checks for line in check.differences]


def test_what_the_pipeline_stored_agrees(aggregator: Aggregator) -> None:
    deliver(aggregator)
    assert aggregator.query("SELECT count(), sum(weight) FROM requests") == [["600", "1200"]]
    assert verify(aggregator) == []
    ended = sonde("verify", "--url", f"http://127.0.0.1:{aggregator.sql}", "--since", "24h")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count(": agree, 1200 requests, ") == 6


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Aggregator, Server]]:
    folder = tmp_path_factory.mktemp("wrong")
    server = Server(folder).wait()
    try:
        aggregator = Aggregator(folder, server.port, PEERS__SETTLE_S="0", PEERS__WAIT_S="1").start()
        deliver(aggregator)
        yield aggregator, server
        aggregator.stop()
    finally:
        server.stop()


STATS = "time, host, role, requests, duration_sum_ns, duration"
ONE = f"toDateTime({AT_S // 10 * 10}), '{{host}}', 'server', 1, 5000, map(431, 1)"
WRONG = {
    "a raw row too many": (
        f"INSERT INTO requests (start, host, role, weight) VALUES ({AT_S}, 'x-raw', 'client', 1)",
        r"x-raw client: 1 of rows \+ 0 unsampled, but 0 requests$",
    ),
    "a request too many in every total": (
        f"INSERT INTO request_stats_10s ({STATS}) SELECT {ONE.format(host='x-ten')}",
        r"x-ten server: 0 of rows \+ 0 unsampled, but 1 requests; durations differ$",
    ),
    "a minute too many": (
        f"INSERT INTO request_stats_1m ({STATS}) SELECT {ONE.format(host='x-minute')}",
        "x-minute server: 0 requests in 10 s, 1 in 1 min; sums, sketches differ$",
    ),
    "an hour too many": (
        f"INSERT INTO request_stats_1h ({STATS}) SELECT toDateTime({HOUR_S}), 'x-hour', 'server', 1, 5000, map(431, 1)",
        "x-hour server: 0 requests in 10 s, 1 in 1 h; sums, sketches differ$",
    ),
    "a sketch that is not the sum of the others": (
        f"INSERT INTO request_stats_1m (time, host, role, queue) SELECT {HOUR_S}, 'v-web', 'server', map(9, 1)",
        r"v-web server: (\d+) requests in 10 s, \1 in 1 min; sketches differ$",
    ),
    "more statements than requests": (
        f"INSERT INTO statement_stats_1m (time, host, role, requests) SELECT {HOUR_S}, 'x-text', 'server', 1",
        "x-text server: 1 statements, 0 requests$",
    ),
    "rows that an agent says it sent": (
        f"INSERT INTO agent_stats (time, host, probe, details) SELECT {AT_S}, 'v-db', 'agent', map('requests', 1)",
        "^v-db: its agent handed over 601 requests, 600 are here$",
    ),
}  # fmt: skip


def test_each_kind_of_wrong_row_is_found(wrong: tuple[Aggregator, Server]) -> None:
    aggregator, server = wrong
    assert verify(aggregator) == []
    for statement, _ in WRONG.values():
        change(server.port, statement)
    lines = verify(aggregator)
    for kind, (_, told) in WRONG.items():
        assert [line for line in lines if re.search(told, line)], (kind, lines)
    # What went into the totals of 10 s went on into the roll-ups, and lacks rows only.
    assert len(lines) == len(WRONG)
    ended = sonde("verify", "--url", f"http://127.0.0.1:{aggregator.sql}")
    assert ended.returncode == 1
    assert ended.stderr == f"sonde: {len(WRONG)} differences; the lines above say where\n"


def test_a_row_in_the_wrong_interval_is_found_although_the_sums_agree(wrong: tuple[Aggregator, Server]) -> None:
    aggregator, server = wrong
    at = HOUR_S + 2 * 3600 + 100
    change(
        server.port,
        f"INSERT INTO requests (start, host, role, weight, duration_ns) VALUES ({at}, 'x-place', 'server', 1, 5000)",
    )
    change(
        server.port,
        f"INSERT INTO request_stats_10s ({STATS}) "
        f"SELECT toDateTime({at + 10}), 'x-place', 'server', 1, 5000, map(431, 1)",
    )
    lines = [line for line in verify(aggregator) if "x-place" in line]
    assert len(lines) == 2
    assert "1 of rows + 0 unsampled, but 0 requests" in lines[0]
    assert "0 of rows + 0 unsampled, but 1 requests" in lines[1]


def test_what_the_disk_guard_dropped_is_left_out(tmp_path) -> None:
    server = Server(tmp_path).wait()
    aggregator = Aggregator(tmp_path, server.port, PEERS__SETTLE_S="0", PEERS__WAIT_S="1")
    try:
        deliver(aggregator.start())
        change(server.port, "TRUNCATE TABLE requests")
        assert verify(aggregator)
        change(
            server.port,
            "INSERT INTO dropped_partitions (time, table_name, partition, until) "
            f"SELECT now(), 'requests', 'x', toDateTime({HOUR_S + 3 * 3600})",
        )
        assert verify(aggregator) == []
    finally:
        aggregator.stop()
        server.stop()
