"""What must hold whatever the store is: batches are stored once and read back alike."""

from __future__ import annotations

import http.client

import pytest

from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

SUMS = (
    "SELECT sum(requests), sum(duration_sum_ns), sum(arraySum(mapValues(duration))) "
    "FROM request_stats_{} WHERE host = '{}'"
)


def batch(host: str, requests: int) -> Builder:
    builder = Builder(host, ["10.9.0.1"])
    link = builder.link("client", "nginx", "10.9.0.1", 40_000, "203.0.113.9", 80)
    for number in range(requests):
        builder.request(link, duration_us=1_000 + number)
    builder.agent_stats("agent", {"requests": requests})
    return builder


def test_a_batch_is_read_back(aggregator: Aggregator) -> None:
    Agent(aggregator.grpc, "b-read").deliver(batch("b-read", 31).seal(1))
    assert aggregator.query("SELECT count(), max(duration_ns) FROM requests WHERE host = 'b-read'") == [
        ["31", "1030000"]
    ]
    for table in ("10s", "1m", "1h"):
        total = str(31 * 1_000_000 + 1000 * sum(range(31)))
        assert aggregator.query(SUMS.format(table, "b-read")) == [["31", total, "31"]]
    median = "SELECT sketchQuantile(0.5, sumMap(duration)) FROM request_stats_1h WHERE host = 'b-read'"
    assert float(aggregator.query(median)[0][0]) == pytest.approx(1_015_000, rel=0.01)
    assert aggregator.query("SELECT details['requests'] FROM agent_stats WHERE host = 'b-read'") == [["31"]]


def test_a_batch_that_comes_again_is_stored_once(aggregator: Aggregator) -> None:
    sealed = batch("b-again", 7).seal(1)
    for _ in range(3):
        agent = Agent(aggregator.grpc, "b-again")
        assert agent.deliver(sealed).ack.sequence == 1
        agent.close()
    assert aggregator.query("SELECT count() FROM requests WHERE host = 'b-again'") == [["7"]]
    for table in ("10s", "1m", "1h"):
        assert aggregator.query(SUMS.format(table, "b-again"))[0][0] == "7"


@pytest.mark.parametrize("aggregator", ["clickhouse"], indirect=True)
def test_an_insert_whose_answer_is_lost_is_stored_once(aggregator: Aggregator) -> None:
    sealed = batch("b-lost", 11).seal(1)
    connection = http.client.HTTPConnection("127.0.0.1", aggregator.sql, timeout=30)
    connection.request("POST", "/fault")
    assert connection.getresponse().status == 200
    connection.close()
    agent = Agent(aggregator.grpc, "b-lost")
    refused = agent.deliver(sealed).refusal
    assert refused.retryable, refused
    assert "the answer was lost" in refused.message
    assert agent.deliver(sealed).ack.sequence == 1
    assert aggregator.query("SELECT count() FROM requests WHERE host = 'b-lost'") == [["11"]]
    for table in ("10s", "1m", "1h"):
        assert aggregator.query(SUMS.format(table, "b-lost"))[0][0] == "11"
