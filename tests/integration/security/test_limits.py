"""Limits of the gRPC port over real streams: each is refused or ended, counted, and does not touch the others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

_PATIENCE_S = 30


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    made = Aggregator(
        tmp_path_factory.mktemp("limits"),
        GRPC__MAX_AGENTS="6",
        GRPC__STREAMS_PER_AGENT="2",
        GRPC__HELLO_S="0.5",
        LIMITS__BATCH_BYTES="65536",
        LIMITS__NAMES="20",
        LIMITS__SERVICES="5",
        LIMITS__DETAILS="10",
        LIMITS__AGENT_BYTES_PER_S="20480",
        LIMITS__AGENT_BURST_BYTES="40960",
        PEERS__WAIT_S="0",
        STORAGE__BLOCK_DELAY_S="0.02",
    ).start()
    yield made
    assert made.stop() == 0


def ended(aggregator: Aggregator, reason: str) -> float:
    return aggregator.metric(f'sonde_streams_ended_total{{reason="{reason}"}}')


def refused(aggregator: Aggregator, code: str) -> float:
    return aggregator.metric(f'sonde_batches_refused_total{{code="{code}"}}')


def wait_for_counter(aggregator: Aggregator, reason: str, above: float) -> None:
    end = time.monotonic() + _PATIENCE_S
    while ended(aggregator, reason) <= above:
        assert time.monotonic() < end, reason
        time.sleep(0.05)


def named(host: str, **names: int) -> Builder:
    """A batch with so many distinct resources and services."""
    builder = Builder(host, ["10.9.0.1"])
    for number in range(names.get("services", 1)):
        link = builder.link("client", f"service-{number}", "10.9.0.1", 40_000 + number, "203.0.113.1", 80)
        builder.request(link)
    for number in range(names.get("resources", 0)):
        builder.request(0, resource=f"/{number}")
    return builder


def test_distinct_names_and_parts_are_limited(aggregator: Aggregator) -> None:
    agent = Agent(aggregator.grpc, "names")
    before = refused(aggregator, "too_large")
    assert agent.deliver(named("names", services=5, resources=19).seal(1)).ack.sequence == 1
    assert agent.deliver(named("names", services=6).seal(2)).refusal.code == pb.Refusal.TOO_LARGE
    assert agent.deliver(named("names", resources=21).seal(3)).refusal.code == pb.Refusal.TOO_LARGE
    parts = Builder("names")
    parts.agent_stats("requests", {f"part-{number}": 1 for number in range(11)})
    assert agent.deliver(parts.seal(4)).refusal.code == pb.Refusal.TOO_LARGE
    assert refused(aggregator, "too_large") == before + 3
    assert agent.deliver(Builder("names").seal(5)).ack.sequence == 5
    agent.close()


def test_an_agent_beyond_its_rate_is_told_when_to_come_back(aggregator: Aggregator) -> None:
    agent, other = Agent(aggregator.grpc, "fast"), Agent(aggregator.grpc, "slow")
    before = refused(aggregator, "rate_limited")
    for number in range(1, 21):
        agent.send(Builder("fast").seal(number))
    answers = [agent.answer() for _ in range(20)]
    refusals = [answer.refusal for answer in answers if answer.WhichOneof("message") == "refusal"]
    assert refusals
    assert refused(aggregator, "rate_limited") == before + len(refusals)
    assert {(one.code, one.retryable) for one in refusals} == {(pb.Refusal.RATE_LIMITED, True)}
    assert all(0 < one.retry_after_ms <= 1_000 for one in refusals)
    assert other.deliver(Builder("slow").seal(1)).ack.sequence == 1
    end = time.monotonic() + _PATIENCE_S
    for refusal in refusals[:3]:
        while agent.deliver(Builder("fast").seal(refusal.sequence)).WhichOneof("message") != "ack":
            assert time.monotonic() < end
            time.sleep(refusal.retry_after_ms / 1e3)
    agent.close()
    other.close()


def test_a_stream_beyond_those_of_its_agent_is_refused_and_others_are_not(aggregator: Aggregator) -> None:
    first, second = Agent(aggregator.grpc, "twice"), Agent(aggregator.grpc, "twice")
    third = Agent(aggregator.grpc, "twice", hello=False)
    hello = pb.AgentMessage(hello=pb.Hello(wire_version=1, agent="twice", spool_id=bytes(16)))
    third.send_bytes(hello.SerializeToString())
    refusal = third.answer().refusal
    assert (refusal.code, refusal.retryable) == (pb.Refusal.OVERLOADED, True)
    third.close()
    first.close()
    end = time.monotonic() + _PATIENCE_S
    while True:  # as soon as the aggregator knows that the first has gone
        assert time.monotonic() < end
        fourth = Agent(aggregator.grpc, "twice", hello=False)
        fourth.send_bytes(hello.SerializeToString())
        welcomed = fourth.answer().WhichOneof("message") == "welcome"
        fourth.close()
        if welcomed:
            break
        time.sleep(0.05)
    assert second.deliver(Builder("twice").seal(1)).ack.sequence == 1
    second.close()


def test_more_streams_than_agents_may_have_are_ended_and_counted(aggregator: Aggregator) -> None:
    before = ended(aggregator, "too_many")
    agents = []
    codes = []
    for number in range(8):
        agents.append(Agent(aggregator.grpc, f"many-{number}", hello=False))
        hello = pb.Hello(wire_version=1, agent=f"many-{number}", spool_id=bytes(16))
        agents[-1].send_bytes(pb.AgentMessage(hello=hello).SerializeToString())
        try:
            agents[-1].answer()
        except grpc.RpcError as error:
            codes.append(error.code())  # type: ignore[attr-defined]
    assert codes
    assert set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert ended(aggregator, "too_many") > before
    assert agents[0].deliver(Builder("many-0").seal(1)).ack.sequence == 1
    for agent in agents:
        agent.close()


def test_silent_streams_end_and_are_counted(aggregator: Aggregator) -> None:
    before = ended(aggregator, "no_hello")
    agent = Agent(aggregator.grpc, "silent", hello=False)
    with pytest.raises(StopIteration):
        agent.answer()
    assert ended(aggregator, "no_hello") == before + 1
    agent.close()


def test_a_message_beyond_the_hard_limit_and_an_unknown_method_are_counted(aggregator: Aggregator) -> None:
    gone, unknown = ended(aggregator, "gone"), ended(aggregator, "unknown_method")
    agent = Agent(aggregator.grpc, "huge")
    agent.send_bytes(bytes(5 * 65_536))
    with pytest.raises(grpc.RpcError) as error:
        agent.answer()
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_for_counter(aggregator, "gone", gone)
    with grpc.insecure_channel(f"127.0.0.1:{aggregator.grpc}") as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/sonde.v1.Ingest/Other")(b"")
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    wait_for_counter(aggregator, "unknown_method", unknown)
    agent.close()
