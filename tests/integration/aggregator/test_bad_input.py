"""Each kind of bad input is refused with its own code and counted, and the next good batch of the stream is stored."""

from __future__ import annotations

import numpy as np
import pytest

from proto import sonde_pb2 as pb
from sonde import columns
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder, seal, seal_bytes


def batch(host: str, requests: int = 2) -> pb.Batch:
    builder = Builder(host, ["10.9.0.1"])
    link = builder.link("client", "nginx", "10.9.0.1", 40_000, "203.0.113.1", 80)
    for _ in range(requests):
        builder.request(link)
    return builder.build()


def framed(sealed: pb.SealedBatch) -> bytes:
    return pb.AgentMessage(batch=sealed).SerializeToString()


def wrong_version(host: str) -> bytes:
    sealed = seal(batch(host), host, 2)
    sealed.wire_version = 99
    return framed(sealed)


def unequal_columns(host: str) -> bytes:
    made = batch(host)
    made.requests.duration = columns.encode(np.ones(3, dtype=np.uint64))
    return framed(seal(made, host, 2))


def index_outside(host: str) -> bytes:
    made = batch(host)
    made.requests.operation = columns.encode(np.full(2, 1000, dtype=np.uint64))
    return framed(seal(made, host, 2))


def damaged(host: str) -> bytes:
    sealed = seal(batch(host), host, 2)
    sealed.content = sealed.content[:-1] + b"x"
    return framed(sealed)


def changed_content(host: str) -> bytes:
    return framed(seal(batch(host, requests=5), host, 1))


CASES = {
    "unknown_protobuf": (lambda _: b"\xff\xfe\xfd", pb.Refusal.MALFORMED),
    "unknown_content": (lambda host: framed(seal_bytes(b"\xff\xff", host, 2)), pb.Refusal.MALFORMED),
    "oversized": (lambda host: framed(seal(batch(host), host, 2)) + b"\x12" + b"\0" * 9_000_000, pb.Refusal.TOO_LARGE),
    "unequal_columns": (unequal_columns, pb.Refusal.BAD_COLUMNS),
    "index_outside": (index_outside, pb.Refusal.BAD_COLUMNS),
    "wrong_version": (wrong_version, pb.Refusal.WRONG_VERSION),
    "damaged": (damaged, pb.Refusal.BAD_CHECKSUM),
    "changed_content": (changed_content, pb.Refusal.CHANGED_CONTENT),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_counted_and_nothing_else_disturbed(aggregator: Aggregator, case: str) -> None:
    host = f"bad-{case}"
    make, code = CASES[case]
    name = f'sonde_batches_refused_total{{code="{pb.Refusal.Code.Name(code).lower()}"}}'
    agent = Agent(aggregator.grpc, host)
    assert agent.deliver(seal(batch(host), host, 1)).ack.sequence == 1
    before = aggregator.metric(name)
    agent.send_bytes(make(host))
    refusal = agent.answer().refusal
    assert refusal.code == code
    assert refusal.message
    assert not refusal.retryable
    assert aggregator.metric(name) == before + 1
    assert agent.deliver(seal(batch(host), host, 3)).ack.sequence == 3
    for table in ("request_stats_10s", "request_stats_1m", "request_stats_1h"):
        assert aggregator.query(f"SELECT sum(requests) FROM {table} WHERE host = '{host}'") == [["4"]]
    assert aggregator.query(f"SELECT count() FROM requests WHERE host = '{host}'") == [["4"]]
    agent.close()


def test_a_batch_before_hello_is_refused(aggregator: Aggregator) -> None:
    agent = Agent(aggregator.grpc, "bad-hello", hello=False)
    assert agent.deliver(seal(batch("bad-hello"), "bad-hello", 1)).refusal.code == pb.Refusal.NO_HELLO
    agent.close()


def test_the_same_batch_again_is_acknowledged_and_not_stored_again(aggregator: Aggregator) -> None:
    host = "again"
    sealed = seal(batch(host), host, 1)
    for _ in range(2):
        agent = Agent(aggregator.grpc, host)
        for _ in range(3):
            assert agent.deliver(sealed).ack.sequence == 1
        agent.close()
    assert aggregator.query(f"SELECT count() FROM requests WHERE host = '{host}'") == [["2"]]
    assert aggregator.query(f"SELECT sum(requests) FROM request_stats_1h WHERE host = '{host}'") == [["2"]]


def test_the_aggregator_stops_cleanly_with_streams_open(tmp_path) -> None:
    made = Aggregator(tmp_path, PEERS__SETTLE_S="0").start()
    agent = Agent(made.grpc, "open")
    assert agent.deliver(seal(batch("open"), "open", 1)).WhichOneof("message") == "ack"
    assert made.stop() == 0
