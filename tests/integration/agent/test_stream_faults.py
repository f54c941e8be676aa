"""Aggregators and networks that misbehave: every batch is delivered all the same, in bounded time, and none is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from node_agent.delivery.addresses import preference
from node_agent.delivery.spool import Spool
from proto import sonde_pb2 as pb
from tests.support.aggregators import free_port
from tests.support.fake_aggregators import FakeAggregator, delivering, until
from tests.support.faulty_proxy import FaultyProxy
from tests.support.spools import AGENT, batch, make

R = pb.Refusal


@pytest.fixture
def spool() -> Iterator[Spool]:
    made = make("")
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[FakeAggregator, FakeAggregator]]:
    """The preferred one, and the other."""
    with FakeAggregator() as one, FakeAggregator() as other:
        liked = preference(AGENT, [one.address, other.address])[0]
        yield (one, other) if liked == one.address else (other, one)


def seal(spool: Spool, count: int, size: int = 100) -> list[int]:
    return [spool.seal(batch(number, size)) for number in range(count)]


# One that is reachable and does not work: found, and left for the next


def test_no_welcome(spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]) -> None:
    first, second = pair
    first.welcome = lambda: None
    numbers = seal(spool, 3)
    with delivering(spool, first.address, second.address) as delivery:
        until(lambda: second.got == numbers)
        until(lambda: spool.waiting == 0)
        assert delivery.address == second.address
    assert first.hellos
    assert not first.got, "nothing goes to one that did not greet"


def test_a_batch_without_an_answer_goes_elsewhere(spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]) -> None:
    first, second = pair
    first.answer = lambda batch: [first.ack(batch)] if batch.sequence == 1 else []
    seal(spool, 3)
    with delivering(spool, first.address, second.address) as delivery:
        until(lambda: spool.waiting == 0)
        assert (first.stored, second.got) == ({1}, [2, 3])
        assert (delivery.counters.sent, delivery.counters.resent) == (5, 2)


def test_one_that_stops_reading(spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]) -> None:
    first, second = pair
    first.reads.clear()
    seal(spool, 20, 200_000)  # more than any buffer in between
    with delivering(spool, first.address, second.address):
        until(lambda: second.stored == set(range(1, 21)))
    assert not first.got


def test_late_answers_are_answers(spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]) -> None:
    first, second = pair

    def late(batch: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        time.sleep(0.3)
        return [first.ack(batch)]

    first.answer = late
    seal(spool, 4)
    with delivering(spool, first.address, second.address, answer_seconds=30):
        until(lambda: spool.waiting == 0)
    assert (first.got, second.got) == ([1, 2, 3, 4], [])


def test_a_refused_greeting_is_no_fault_of_the_batches(
    spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]
) -> None:
    first, second = pair
    first.welcome = lambda: first.refusal(pb.SealedBatch(), R.WRONG_VERSION)
    seal(spool, 3)
    with delivering(spool, first.address, second.address) as delivery:
        until(lambda: spool.waiting == 0)
        assert delivery.counters.refusals["WRONG_VERSION"] >= 1
    assert (spool.refused, first.got, second.got) == (0, [], [1, 2, 3])


def test_one_that_ends_every_stream(spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]) -> None:
    first, second = pair

    def fail(_: pb.SealedBatch) -> list[pb.AggregatorMessage]:
        raise RuntimeError("a fault in the aggregator")

    first.answer = fail
    seal(spool, 3)
    with delivering(spool, first.address, second.address):
        until(lambda: second.stored == {1, 2, 3})


# The network


def test_half_open_with_batches_on_the_wire(spool: Spool) -> None:
    with FakeAggregator() as aggregator, FaultyProxy(aggregator.port) as proxy:
        with delivering(spool, proxy.address) as delivery:
            seal(spool, 2)
            until(lambda: spool.waiting == 0)
            proxy.stall()
            seal(spool, 3)
            until(lambda: not delivery.connected, "the answers' deadline")
            proxy.forward()
            until(lambda: spool.waiting == 0)
        assert aggregator.stored == {1, 2, 3, 4, 5}


def test_half_open_and_nothing_to_say_is_found_by_keepalive(spool: Spool) -> None:
    with FakeAggregator() as aggregator, FaultyProxy(aggregator.port) as proxy:
        alive = {"keepalive_seconds": 6, "keepalive_timeout_seconds": 0.5}
        with delivering(spool, proxy.address, answer_seconds=3600, **alive) as delivery:
            until(lambda: delivery.connected)
            proxy.stall()
            until(lambda: not delivery.connected)


def test_a_connection_that_is_half_open_from_the_start(spool: Spool) -> None:
    with FakeAggregator() as aggregator, FaultyProxy(aggregator.port) as proxy:
        proxy.stall()
        seal(spool, 2)
        with delivering(spool, proxy.address, connect_seconds=0.5) as delivery:
            until(lambda: delivery.counters.breaks >= 2)
            proxy.forward()
            until(lambda: spool.waiting == 0)
        assert aggregator.stored == {1, 2}


@pytest.mark.parametrize("direction", ["up", "down"])
def test_cut_in_mid_frame_again_and_again(direction: str, spool: Spool) -> None:
    with FakeAggregator() as aggregator, FaultyProxy(aggregator.port) as proxy:
        seal(spool, 12, 40_000)
        proxy.cut(150_000 if direction == "up" else 300, direction)
        with delivering(spool, proxy.address) as delivery:
            until(lambda: proxy.cuts >= 3)
            proxy.forward()
            until(lambda: spool.waiting == 0)
            assert delivery.counters.resent > 0
        assert aggregator.stored == set(range(1, 13))
        assert (spool.refused, spool.dropped, spool.acknowledged) == (0, 0, 12)


def test_slow_and_narrow(spool: Spool) -> None:
    with FakeAggregator() as aggregator, FaultyProxy(aggregator.port) as proxy:
        proxy.limit(200_000)
        seal(spool, 10, 10_000)
        with delivering(spool, proxy.address, answer_seconds=60) as delivery:
            until(lambda: spool.waiting == 0)
            assert delivery.counters.resent == 0
        assert aggregator.got == list(range(1, 11))


# Several addresses


def test_failover_and_the_way_back(spool: Spool) -> None:
    with (
        FakeAggregator() as one,
        FakeAggregator() as other,
        FaultyProxy(one.port) as to_one,
        FaultyProxy(other.port) as to_other,
    ):
        addresses = [to_one.address, to_other.address]
        parts = [(to_one, one), (to_other, other)]
        if preference(AGENT, addresses)[0] == to_other.address:
            parts.reverse()
        (proxy, first), (second_proxy, second) = parts
        with delivering(spool, *addresses, return_seconds=1) as delivery:
            until(lambda: delivery.address == proxy.address)
            proxy.refuse()
            seal(spool, 3)
            until(lambda: second.stored == {1, 2, 3})
            assert delivery.address == second_proxy.address
            resent = delivery.counters.resent  # what went just before the break was noticed
            breaks = delivery.counters.breaks
            until(lambda: delivery.counters.breaks > breaks, "the preferred one was tried")
            assert delivery.address == second_proxy.address, "and the other not left for it"
            proxy.forward()
            until(lambda: delivery.address == proxy.address)
            seal(spool, 3)
            until(lambda: first.stored == {4, 5, 6})
            until(lambda: spool.waiting == 0)
            assert delivery.counters.resent == resent


def test_on_the_way_back_the_old_stream_may_answer(spool: Spool, pair: tuple[FakeAggregator, FakeAggregator]) -> None:
    first, second = pair
    first.welcome = lambda: None
    held: list[pb.SealedBatch] = []

    def hold(batch: pb.SealedBatch) -> Iterator[pb.AggregatorMessage]:
        held.append(batch)
        until(lambda: first.welcome == first.plain_welcome and len(first.hellos) > greeted)
        yield second.ack(batch)

    second.answer = hold
    with delivering(spool, first.address, second.address, return_seconds=1, answer_seconds=60, connect_seconds=1):
        seal(spool, 1)
        until(lambda: held)
        greeted = len(first.hellos)
        first.welcome = first.plain_welcome
        until(lambda: spool.waiting == 0)
        assert second.stored == {1}
        seal(spool, 1)
        until(lambda: first.stored == {2}, "the batch went over once, not to both")
    assert first.got == [2]


def test_all_away_then_one_comes(spool: Spool) -> None:
    with FakeAggregator() as aggregator, FaultyProxy(aggregator.port) as proxy:
        proxy.refuse()
        seal(spool, 2)
        with delivering(spool, f"127.0.0.1:{free_port()}", proxy.address) as delivery:
            until(lambda: delivery.counters.breaks >= 4)
            assert not delivery.connected
            proxy.forward()
            until(lambda: aggregator.stored == {1, 2})
