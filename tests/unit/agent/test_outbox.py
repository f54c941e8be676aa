"""What goes next over a stream, and what is on its wire, with a clock that stands still."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from node_agent.delivery.outbox import Hold, Outbox
from node_agent.delivery.spool import Spool
from tests.support.spools import batch, make


@pytest.fixture
def spool() -> Iterator[Spool]:
    made = make("")
    yield made
    made.close()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seal(spool: Spool, count: int) -> None:
    for number in range(count):
        spool.seal(batch(number))


def take(outbox: Outbox, count: int) -> list[int]:
    """Sequence numbers of the next batches."""
    out = []
    for _ in range(count):
        sent = outbox.next()
        assert sent is not None
        out.append(sent.sequence)
    return out


def acknowledge(outbox: Outbox, spool: Spool, sequence: int) -> None:
    spool.acknowledge(sequence)
    outbox.acknowledged(sequence)


def test_a_full_window_waits_for_an_answer(spool: Spool, clock: Clock) -> None:
    outbox = Outbox(spool, 2, 1 << 20, clock=clock)
    seal(spool, 3)
    assert take(outbox, 2) == [1, 2]
    assert outbox.unanswered == [1, 2]
    went: list[int] = []
    sender = threading.Thread(target=lambda: went.extend(take(outbox, 1)))
    sender.start()
    sender.join(0.1)
    assert not went
    acknowledge(outbox, spool, 2)
    sender.join(10)
    assert went == [3]
    assert outbox.oldest_at == 100.0


def test_only_what_is_on_the_wire_under_its_id_counts(spool: Spool, clock: Clock) -> None:
    outbox = Outbox(spool, 9, 1 << 20, clock=clock)
    seal(spool, 2)
    take(outbox, 1)
    assert outbox.has(spool.id, 1)
    assert not outbox.has(b"x" * 16, 1)
    assert not outbox.has(spool.id, 2)


def test_a_refusal_for_now_pauses_all_halves_the_window_and_then_the_refused_one_is_first(
    spool: Spool, clock: Clock
) -> None:
    outbox = Outbox(spool, 8, 1 << 20, clock=clock)
    seal(spool, 20)
    assert take(outbox, 8) == list(range(1, 9))
    for sequence in (3, 1, 2):  # one pause, so the window is halved once
        outbox.postponed(sequence, 2.0)
    assert outbox.refused_since == 100.0
    went: list[int] = []
    sender = threading.Thread(target=lambda: went.extend(take(outbox, 3)))
    sender.start()
    clock.now += 1.9
    sender.join(0.1)
    assert not went
    clock.now += 0.2
    for sequence in (4, 5, 6, 7):
        spool.acknowledge(sequence)
        outbox.refused(sequence)  # makes room, and does not widen the window
    sender.join(10)
    assert went == [1, 2, 3]
    assert len(outbox.unanswered) == 4
    acknowledge(outbox, spool, 1)
    assert outbox.refused_since == 0
    assert take(outbox, 2) == [9, 10], "acknowledged: one wider"
    outbox.stop()
    assert outbox.next() is None


def test_one_that_is_refused_again_lets_the_others_go_first(spool: Spool, clock: Clock) -> None:
    outbox = Outbox(spool, 8, 1 << 20, clock=clock)
    seal(spool, 9)
    assert take(outbox, 1) == [1]
    outbox.postponed(1, 0)  # not told: a second
    clock.now += 1
    assert take(outbox, 1) == [1]
    outbox.postponed(1, 1.0)
    clock.now += 1
    assert take(outbox, 1) == [2]
    acknowledge(outbox, spool, 2)
    clock.now += 1
    assert take(outbox, 2) == [1, 3]
    acknowledge(outbox, spool, 3)
    outbox.postponed(1, 1000.0)
    clock.now += 61
    assert take(outbox, 1) == [4], "no pause is longer than a minute"


def test_held_batches_wait_from_the_start_and_may_disappear(spool: Spool, clock: Clock) -> None:
    outbox = Outbox(spool, 8, 1 << 20, {1: Hold(110, 1), 3: Hold(110, 1)}, clock=clock)
    seal(spool, 5)
    assert take(outbox, 3) == [2, 4, 5]
    spool.acknowledge(1)  # dropped, say
    clock.now += 20
    assert take(outbox, 1) == [3]
    seal(spool, 1)
    assert take(outbox, 1) == [6]


def test_older_batches_of_a_reopened_file_go_and_nothing_twice(spool: Spool, clock: Clock) -> None:
    outbox = Outbox(spool, 8, 1 << 20, {}, clock=clock)
    seal(spool, 4)
    spool.acknowledge(1)
    assert take(outbox, 2) == [2, 3]
    spool.reopened += 1
    assert take(outbox, 1) == [4]
    acknowledge(outbox, spool, 2)
    assert outbox.unanswered == [3, 4]
