"""Over real streams: a slow row of one host makes the aggregator ask the other, and its answer is not counted twice."""

from __future__ import annotations

import time

import numpy as np

from proto import sonde_pb2 as pb
from sonde.batches import SLOW
from sonde.ids import exchange_ids
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

CONNECTION = 4711


def end(host: str) -> tuple[Builder, int]:
    made = Builder(host, ["10.9.0.1" if host == "h-web" else "10.9.0.2"])
    if host == "h-web":
        return made, made.link("client", "nginx", "10.9.0.1", 40_000, "10.9.0.2", 80, CONNECTION)
    return made, made.link("server", "api", "10.9.0.2", 80, "10.9.0.1", 40_000, CONNECTION)


def until(aggregator: Aggregator, sql: str, expected: list[list[str]]) -> None:
    deadline = time.monotonic() + 60
    while (found := aggregator.query(sql)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_the_other_half_is_asked_for_and_counted_once(aggregator: Aggregator) -> None:
    web, app = Agent(aggregator.grpc, "h-web"), Agent(aggregator.grpc, "h-app")
    made, link = end("h-app")
    made.unsampled(link, [900, 1_000, 1_100])
    assert app.deliver(made.seal(1)).ack.sequence == 1
    made, link = end("h-web")
    made.request(link, offset=500, flags=SLOW, duration_us=250_000)
    assert web.deliver(made.seal(1)).ack.sequence == 1
    wanted = app.answer().wanted.exchange_ids
    assert list(wanted) == exchange_ids(np.array([CONNECTION], np.uint64), np.array([500], np.uint64)).tolist()
    made, link = end("h-app")
    made.request(link, offset=500, duration_us=1_000, weight=0)
    assert app.deliver(made.seal(2)).ack.sequence == 2
    until(aggregator, "SELECT client_host, server_host, weight FROM exchanges WHERE client_host = 'h-web'",
          [["h-web", "h-app", "1"]])  # fmt: skip
    for table in ("10s", "1m", "1h"):
        sums = "sum(requests), sum(unsampled), sum(duration_sum_ns), sum(arraySum(mapValues(duration)))"
        assert aggregator.query(f"SELECT {sums} FROM request_stats_{table} WHERE host = 'h-app'") == [
            ["3", "3", "3000000", "3"]
        ]
    rows = aggregator.query("SELECT count(), sum(weight) FROM requests WHERE host = 'h-app'")
    assert rows == [["1", "0"]]
    assert aggregator.metric('sonde_halves_total{outcome="found"}') == 1
    assert pb.AggregatorMessage.DESCRIPTOR.fields_by_name["wanted"].number == 4
    web.close()
    app.close()
