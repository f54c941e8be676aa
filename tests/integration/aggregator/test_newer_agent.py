"""Agents of other releases against this aggregator, through its gRPC port into the store."""

from __future__ import annotations

import pytest

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder, seal_bytes
from tests.unit.test_wire_compatibility import NEW_FIELD, WIRE


def test_a_newer_agents_fields_and_protocols_do_no_harm(aggregator: Aggregator) -> None:
    builder = Builder("newer", ["10.6.0.1"])
    link = builder.link("client", "nginx", "10.6.0.1", 40_000, "203.0.113.7", 80)
    builder.request(link)
    builder.request(link, protocol=max(pb.Protocol.values()) + 1)
    batch = builder.build()
    batch.requests.MergeFromString(NEW_FIELD)
    agent = Agent(aggregator.grpc, "newer")
    sealed = seal_bytes(batch.SerializeToString() + NEW_FIELD, "newer", 1)
    answer = agent.deliver(pb.SealedBatch.FromString(sealed.SerializeToString() + NEW_FIELD))
    agent.close()
    assert answer.ack.sequence == 1, answer
    for table in ("requests", "request_stats_10s"):
        rows = aggregator.query(f"SELECT DISTINCT protocol FROM {table} WHERE host = 'newer' ORDER BY protocol")
        assert rows == [["http1"], ["~other"]]


def test_a_newer_wire_version_is_refused_at_the_greeting(aggregator: Aggregator) -> None:
    agent = Agent(aggregator.grpc, "future", hello=False)
    agent.send_bytes(pb.AgentMessage(hello=pb.Hello(wire_version=99, agent="future")).SerializeToString())
    refusal = agent.answer().refusal
    agent.close()
    assert (refusal.code, refusal.sequence) == (pb.Refusal.WRONG_VERSION, 0)


@pytest.mark.parametrize("release", sorted(path.stem for path in WIRE.glob("*.bin")))
def test_a_batch_of_every_release_is_stored(release: str, aggregator: Aggregator) -> None:
    sealed = pb.SealedBatch.FromString((WIRE / f"{release}.bin").read_bytes())
    sealed.spool_id = release.encode().ljust(16, b"-")  # each release's own spool
    agent = Agent(aggregator.grpc, sealed.agent)
    answer = agent.deliver(sealed)
    agent.close()
    assert answer.ack.sequence == sealed.sequence, answer
