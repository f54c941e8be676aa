"""What an aggregator may answer to a batch, and what the agent makes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from node_agent.delivery import stream
from node_agent.delivery.spool import Spool
from node_agent.rows import Tally
from node_agent.stats import Stats
from proto import sonde_pb2 as pb
from tests.support import fake_aggregators
from tests.support.fake_aggregators import FakeAggregator, delivering, until
from tests.support.spools import batch, make

R = pb.Refusal


@pytest.fixture
def spool() -> Iterator[Spool]:
    made = make("")
    yield made
    made.close()


@pytest.fixture
def aggregator() -> Iterator[FakeAggregator]:
    with FakeAggregator() as made:
        yield made


def seal(spool: Spool, count: int, size: int = 100) -> list[int]:
    return [spool.seal(batch(number, size)) for number in range(count)]


@pytest.mark.parametrize("code", [R.MALFORMED, 4711])
def test_refused_for_good_blocks_nothing(code: int, spool: Spool, aggregator: FakeAggregator) -> None:
    aggregator.answer = lambda batch: (
        [aggregator.refusal(batch, code)] if batch.sequence == 2 else [aggregator.ack(batch)]
    )
    seal(spool, 4)
    with delivering(spool, aggregator.address) as delivery:
        until(lambda: spool.waiting == 0)
        assert delivery.counters.refusals == Counter({"MALFORMED" if code == R.MALFORMED else "CODE_4711": 1})
    assert (spool.refused, spool.acknowledged, aggregator.stored) == (1, 3, {1, 3, 4})
    assert aggregator.got == [1, 2, 3, 4]


def test_refused_for_now_waits_as_told_and_goes_on_over_the_same_stream(
    spool: Spool, aggregator: FakeAggregator
) -> None:
    told_s = 0.4
    refused: set[int] = set()

    def once(batch: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        if batch.sequence == 2 and not refused:
            refused.add(2)
            return [aggregator.refusal(batch, R.RATE_LIMITED, retryable=True, retry_after_ms=int(told_s * 1000))]
        return [aggregator.ack(batch)]

    aggregator.answer = once
    seal(spool, 2)
    with delivering(spool, aggregator.address) as delivery:
        until(lambda: refused and delivery.counters.refusals["RATE_LIMITED"] == 1)
        seal(spool, 3)
        until(lambda: spool.waiting == 0)
        assert (len(aggregator.hellos), delivery.counters.resent) == (1, 1)
    assert aggregator.got == [1, 2, 2, 3, 4, 5], "the refused one first, then the others in order"
    assert aggregator.at[2] - aggregator.at[1] >= told_s
    assert aggregator.at[5] - aggregator.at[2] < 20, "no half minute of silence"


def test_one_that_is_always_refused_for_now_holds_up_no_other(spool: Spool, aggregator: FakeAggregator) -> None:
    aggregator.answer = lambda batch: (
        [aggregator.refusal(batch, R.OVERLOADED, retryable=True, retry_after_ms=50)]
        if batch.sequence == 1
        else [aggregator.ack(batch)]
    )
    seal(spool, 30)
    with delivering(spool, aggregator.address, window_batches=4):
        until(lambda: spool.waiting == 1)
        assert aggregator.stored == set(range(2, 31))
        aggregator.answer = lambda batch: [aggregator.ack(batch)]
        until(lambda: spool.waiting == 0)
    assert len(aggregator.hellos) == 1


def test_one_address_that_takes_nothing_is_left_for_another(spool: Spool, aggregator: FakeAggregator) -> None:
    with FakeAggregator() as other:
        for one in (aggregator, other):
            one.answer = lambda batch: [FakeAggregator.refusal(batch, R.OVERLOADED, retryable=True, retry_after_ms=100)]
        seal(spool, 3)
        with delivering(spool, aggregator.address, other.address):
            until(lambda: aggregator.got and other.got)
            other.answer = lambda batch: [other.ack(batch)]
            until(lambda: spool.waiting == 0)
    assert spool.refused == 0


@pytest.mark.parametrize("limits", [{"window_batches": 3}, {"window_bytes": 1 << 16}])
def test_no_more_than_the_window_is_on_the_wire(
    limits: dict[str, int], spool: Spool, aggregator: FakeAggregator
) -> None:
    held: list[pb.SealedBatch] = []

    def hold(batch: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        held.append(batch)
        if len(held) < 3:
            return []
        time.sleep(0.2)  # for a fourth, which must not come
        assert len(aggregator.got) <= 3 + len(aggregator.stored)
        return [aggregator.ack(held.pop(0))]

    aggregator.answer = hold
    seal(spool, 8, 20_000 if "window_bytes" in limits else 100)
    with delivering(spool, aggregator.address, answer_seconds=60, **limits) as delivery:
        until(lambda: len(aggregator.stored) == 6)
        until(lambda: delivery.unanswered == 2)
        assert (delivery.counters.breaks, spool.waiting) == (0, 2)


def test_one_batch_goes_whatever_its_size(spool: Spool, aggregator: FakeAggregator) -> None:
    seal(spool, 3, 200_000)
    with delivering(spool, aggregator.address, window_bytes=1 << 16):
        until(lambda: spool.waiting == 0)


def test_a_batch_that_is_too_large_for_the_aggregator_is_not_sent(spool: Spool, aggregator: FakeAggregator) -> None:
    aggregator.max_batch_bytes = 50_000
    seal(spool, 1)
    large = spool.seal(batch(9, 90_000))
    seal(spool, 1)
    with delivering(spool, aggregator.address) as delivery:
        until(lambda: spool.waiting == 0)
        assert delivery.counters.refusals == Counter({"TOO_LARGE": 1})
    assert large not in aggregator.got
    assert (spool.refused, spool.acknowledged) == (1, 2)


def test_answers_that_fit_nothing_change_nothing(spool: Spool, aggregator: FakeAggregator) -> None:
    def strange(batch: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        other = pb.SealedBatch(spool_id=b"x" * 16, sequence=batch.sequence)
        later = pb.SealedBatch(spool_id=batch.spool_id, sequence=batch.sequence + 1000)
        answers = [aggregator.ack(other), aggregator.refusal(other, R.MALFORMED), aggregator.ack(later)]
        aggregator.stored.clear()
        return [*answers, pb.AggregatorMessage(), aggregator.ack(batch), aggregator.ack(batch)]

    aggregator.answer = strange
    seal(spool, 2)
    with delivering(spool, aggregator.address) as delivery:
        until(lambda: delivery.counters.strange == 8)
        assert (spool.acknowledged, spool.refused, spool.waiting) == (2, 0, 0)
        assert len(aggregator.hellos) == 1


def test_a_batch_that_ends_every_stream_holds_up_no_other(
    spool: Spool, aggregator: FakeAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_BARREN_STREAMS", 3)
    healthy: list[bool] = []

    def fragile(batch: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        if batch.sequence == 2 and not healthy:
            raise RuntimeError("a fault in the aggregator")
        return [aggregator.ack(batch)]

    aggregator.answer = fragile
    seal(spool, 6)
    with delivering(spool, aggregator.address):
        until(lambda: aggregator.stored == {1, 3, 4, 5, 6})
        healthy.append(True)
        until(lambda: spool.waiting == 0)
    assert spool.refused == 0


def test_rows_that_are_wanted_are_passed_on(spool: Spool, aggregator: FakeAggregator) -> None:
    wanted = pb.AggregatorMessage(wanted=pb.Wanted(exchange_ids=[7, 2**64 - 1]))
    aggregator.answer = lambda batch: [wanted, aggregator.ack(batch), wanted]
    asked: list[int] = []
    seal(spool, 1)
    made = stream.Delivery(fake_aggregators.settings(aggregator.address), spool, asked.extend)
    made.start()
    try:
        until(lambda: spool.waiting == 0 and len(asked) == 4)
    finally:
        made.close(5)
    assert asked == [7, 2**64 - 1] * 2
    assert made.counters.strange == 0


class NoProbes:
    broken: tuple[str, ...] = ()

    def counters(self) -> list[tuple[str, dict[str, int]]]:
        return []


def test_what_the_agent_says_of_its_streams(spool: Spool, aggregator: FakeAggregator) -> None:
    ends: list[bool] = []

    def answer(batch: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        if batch.sequence == 2 and not ends:
            ends.append(True)
            raise RuntimeError("a fault in the aggregator")
        refused = batch.sequence == 3
        return [aggregator.refusal(batch, R.MALFORMED)] if refused else [aggregator.ack(batch)] * (batch.sequence != 5)

    aggregator.answer = answer
    seal(spool, 5)
    with delivering(spool, aggregator.address, answer_seconds=600) as delivery:
        until(lambda: spool.waiting == 1 and delivery.unanswered == 1)
        stats = Stats(NoProbes(), spool, Tally(), delivery)  # type: ignore[arg-type]
        row = next(row for row in stats.rows(1) if row["probe"] == "agent")
        shown = {metric.name: metric.samples for metric in stats.collect()}
    details = row["details"]
    assert details["batches_sent"] - details["batches_resent"] == 5
    assert details["batches_resent"] >= 1
    assert (details["reconnects"], details["stream_breaks"], details["refused/malformed"]) == (1, 1, 1)
    assert details[f"connected/{aggregator.address}"] == 1
    connected = shown["sonde_agent_connected"][0]
    assert (connected.labels, connected.value) == ({"aggregator": aggregator.address}, 1)
    assert shown["sonde_agent_unanswered_batches"][0].value == 1
    assert shown["sonde_agent_oldest_unanswered_seconds"][0].value > 0
    waiting_s = shown["sonde_agent_oldest_unacknowledged_seconds"][0].value
    assert waiting_s >= shown["sonde_agent_oldest_unanswered_seconds"][0].value - 2
