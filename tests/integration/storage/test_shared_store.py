"""Two aggregators behind one name, over one ClickHouse server: what one accepted, the other knows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder
from tests.support.clickhouse import Server

NOW_US = time.time_ns() // 1000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Aggregator, Aggregator]]:
    folder = tmp_path_factory.mktemp("shared")
    server = Server(folder).wait()
    made = []
    try:
        for name in ("one", "two"):
            (folder / name).mkdir()
            waits = {"PEERS__SETTLE_S": "0", "PEERS__WAIT_S": "30", "PEERS__REFRESH_S": "0.3"}
            made.append(Aggregator(folder / name, server.port, **waits).start())
        yield made[0], made[1]
    finally:
        for one in made:
            one.stop()
        server.stop()


def batch(host: str, duration_us: int = 1000) -> Builder:
    builder = Builder(host, ["10.6.0.1"], now_us=NOW_US)
    link = builder.link("client", "nginx", "10.6.0.1", 40_000, "203.0.113.9", 80)
    for _ in range(13):
        builder.request(link, duration_us=duration_us)
    return builder


def deliver(aggregator: Aggregator, sealed: pb.SealedBatch, host: str) -> pb.AggregatorMessage:
    agent = Agent(aggregator.grpc, host)
    try:
        return agent.deliver(sealed)
    finally:
        agent.close()


def test_a_batch_that_one_accepted_is_a_repetition_to_the_other(pair: tuple[Aggregator, Aggregator]) -> None:
    one, two = pair
    sealed = batch("m-web").seal(1)
    assert deliver(one, sealed, "m-web").ack.sequence == 1
    assert deliver(two, sealed, "m-web").ack.sequence == 1
    assert one.query("SELECT sum(requests) FROM request_stats_1h WHERE host = 'm-web'") == [["13"]]
    assert two.metric("sonde_batches_repeated_total") == 1
    assert two.metric("sonde_batches_inserted_total") == 0
    other = deliver(two, batch("m-web", 2000).seal(1), "m-web")
    assert other.refusal.code == pb.Refusal.CHANGED_CONTENT


def test_the_two_ends_of_a_connection_meet_through_the_store(pair: tuple[Aggregator, Aggregator]) -> None:
    one, two = pair
    client, server = Builder("m-client", ["10.6.1.1"]), Builder("m-server", ["10.6.1.2"])
    server.endpoint("10.6.1.2", 8080, "api")
    deliver(two, server.seal(1), "m-server")
    deliver(one, client.seal(1), "m-client")
    reads = two.metric("sonde_shared_peers_reads_total")
    while two.metric("sonde_shared_peers_reads_total") < reads + 2:  # the first may have begun before the insert
        time.sleep(0.05)
    here = Builder("m-server", ["10.6.1.2"])
    there = Builder("m-client", ["10.6.1.1"])
    here.request(here.link("server", "api", "10.6.1.2", 8080, "10.6.1.1", 40_000, 99))
    link = there.link("client", "curl", "10.6.1.1", 40_000, "10.6.1.2", 8080, 99)
    there.request(link)
    there.connection(link)
    waiting = Agent(two.grpc, "m-server")
    waiting.send(here.seal(2))
    assert deliver(one, there.seal(2), "m-client").ack.sequence == 2
    assert waiting.answer().ack.sequence == 2
    waiting.close()
    rows = one.query("SELECT host, remote_host, remote_service FROM requests WHERE connection_id = 99 ORDER BY host")
    assert rows == [["m-client", "m-server", "api"], ["m-server", "m-client", "curl"]]
