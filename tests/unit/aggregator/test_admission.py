"""Streams and bytes of one agent: what fits goes, what does not is told when, and the others notice nothing."""

from __future__ import annotations

import pytest

from aggregator.config import Grpc, Limits
from aggregator.ingest.admission import _SWEEP, Admission
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb

MIB = 1 << 20


def admission(rate: int = MIB, burst: int = 4 * MIB, streams: int = 2) -> Admission:
    limits = Limits(agent_bytes_per_s=rate, agent_burst_bytes=burst)
    return Admission(Grpc(streams_per_agent=streams), limits)


def test_a_burst_then_the_rate_and_the_hint_is_the_time_to_wait() -> None:
    made = admission()
    for _ in range(4):
        made.spend("web", MIB, 100.0)
    with pytest.raises(Refused) as refused:
        made.spend("web", MIB // 2, 100.0)
    assert (refused.value.code, refused.value.retryable) == (pb.Refusal.RATE_LIMITED, True)
    assert refused.value.retry_after_s == pytest.approx(0.5)
    made.spend("db", 4 * MIB, 100.0)  # another agent has a bucket of its own
    made.spend("web", MIB // 2, 100.5)
    with pytest.raises(Refused):
        made.spend("web", MIB // 2, 100.6)


def test_in_the_long_run_exactly_the_rate_passes() -> None:
    made, passed, now = admission(rate=MIB, burst=MIB), 0, 0.0
    for _ in range(10_000):
        try:
            made.spend("web", 100_000, now)
            passed += 100_000
        except Refused:
            pass
        now += 0.01
    assert passed == pytest.approx(100 * MIB + MIB, rel=0.01)


def test_a_batch_larger_than_the_burst_goes_when_the_bucket_is_full() -> None:
    made = admission(burst=MIB)
    made.spend("web", 10 * MIB, 0.0)
    with pytest.raises(Refused) as refused:
        made.spend("web", 10 * MIB, 0.0)
    made.spend("web", 10 * MIB, refused.value.retry_after_s)


def test_empty_messages_have_a_rate_as_well() -> None:
    made = admission(rate=4096, burst=8192)
    made.spend("web", 0, 0.0)
    made.spend("web", 0, 0.0)
    with pytest.raises(Refused):
        made.spend("web", 0, 0.0)


def test_streams_of_one_agent_are_limited_and_come_back() -> None:
    made = admission(streams=2)
    made.enter("web")
    made.enter("web")
    made.enter("db")
    with pytest.raises(Refused) as refused:
        made.enter("web")
    assert (refused.value.code, refused.value.retryable) == (pb.Refusal.OVERLOADED, True)
    made.leave("web")
    made.enter("web")
    for name in ("web", "web", "db"):
        made.leave(name)
    assert not made._streams


def test_agents_that_went_are_forgotten_and_those_in_debt_are_not() -> None:
    made = admission()
    made.spend("greedy", 4 * MIB, 999.0)
    for number in range(4 * _SWEEP):
        made.spend(f"once-{number}", 1, float(number))
    assert len(made._buckets) <= 2 * _SWEEP
    made = admission(rate=1024, burst=2048)
    made.spend("greedy", 2048, 0.0)
    for number in range(_SWEEP):
        made.spend(f"once-{number}", 2048, 0.0)
    with pytest.raises(Refused):
        made.spend("greedy", 2048, 1.0)
