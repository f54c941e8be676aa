"""SIGKILL at random points, start, resend: nothing acknowledged is lost, nothing is stored twice, in any table.

Every batch has a prime number of requests and many groups, so that a lost or repeated part of any roll-up shows. The
killer waits a random part of the time that the whole delivery takes; what was not acknowledged is sent again, the same
bytes, as an agent does. In every other round the peer is known, so that a batch cut short is sent again into another
resolution of remote_host and remote_service: the token must tell that it is the same batch, as its rows differ.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import grpc

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

_BATCHES, _REQUESTS, _KILLS = 60, 211, 10
_SEED = 20261120


def sealed_batches(host: str) -> list[pb.SealedBatch]:
    made = []
    for sequence in range(1, _BATCHES + 1):
        builder = Builder(host, ["10.8.0.1"])
        link = builder.link("client", "nginx", "10.8.0.1", 40_000, "10.8.0.2", 80, sequence)
        for number in range(_REQUESTS):
            builder.request(
                link, duration_us=1000 + number * sequence, resource=f"/{number % 53}", statement_id=number + 1
            )
        builder.connection(link)
        builder.agent_stats("requests", events=_REQUESTS)
        made.append(builder.seal(sequence))
    return made


def peer(sequence: int, knows: bool) -> pb.SealedBatch:
    """The other end's host; with its links or without."""
    builder = Builder("peer", ["10.8.0.2"])
    for connection in range(1, _BATCHES + 1 if knows else 1):
        builder.link("server", "api", "10.8.0.2", 80, "10.8.0.1", 40_000, connection)
    return builder.seal(sequence)


def deliver(port: int, host: str, waiting: dict[int, pb.SealedBatch], acknowledged: list[int]) -> None:
    """Send all that waits; stops when the aggregator is gone."""
    try:
        agent = Agent(port, host)
        for sealed in list(waiting.values()):
            agent.send(sealed)
        while waiting:
            answer = agent.answer()
            assert answer.WhichOneof("message") == "ack", answer
            acknowledged.append(answer.ack.sequence)
            waiting.pop(answer.ack.sequence)
        agent.close()
    except (grpc.RpcError, StopIteration):
        pass


def test_sigkill_at_random_points_loses_and_repeats_nothing(tmp_path: Path) -> None:
    rng = random.Random(_SEED)
    host = "kill"
    aggregator = Aggregator(tmp_path, PEERS__SETTLE_S="0", PEERS__WAIT_S="0")
    batches = sealed_batches(host)
    waiting = {sealed.sequence: sealed for sealed in batches}
    acknowledged: list[int] = []
    interrupted = 0
    for number in range(_KILLS):
        aggregator.start()
        Agent(aggregator.grpc, "peer").deliver(peer(number + 1, knows=number % 2 == 1))
        sender = threading.Thread(target=deliver, args=(aggregator.grpc, host, waiting, acknowledged))
        sender.start()
        time.sleep(rng.uniform(0.02, 0.6))
        aggregator.kill()
        sender.join()
        interrupted += bool(waiting)
    assert interrupted
    aggregator.start()
    deliver(aggregator.grpc, host, waiting, acknowledged)
    try:
        assert sorted(acknowledged) == list(range(1, _BATCHES + 1))
        again = Agent(aggregator.grpc, host)
        assert [again.deliver(sealed).ack.sequence for sealed in batches] == list(range(1, _BATCHES + 1))
        requests = _BATCHES * _REQUESTS
        duration_ns = sum(1000 * (1000 + n * s) for s in range(1, _BATCHES + 1) for n in range(_REQUESTS))
        assert aggregator.query("SELECT count(), sum(duration_ns) FROM requests") == [[str(requests), str(duration_ns)]]
        for table in ("request_stats_10s", "request_stats_1m", "request_stats_1h", "statement_stats_1m"):
            rows = aggregator.query(
                f"SELECT sum(requests), sum(duration_sum_ns), arraySum(mapValues(sumMap(duration))) FROM {table}"
            )
            assert rows == [[str(requests), str(duration_ns), str(requests)]], table
        assert aggregator.query("SELECT count() FROM connections WHERE host = 'kill'") == [[str(_BATCHES)]]
        assert aggregator.query("SELECT sum(events) FROM agent_stats") == [[str(requests)]]
        assert aggregator.query("SELECT count(), uniqExact(sequence) FROM accepted_batches WHERE agent = 'kill'") == [
            [str(_BATCHES)] * 2
        ]
    finally:
        aggregator.stop()
