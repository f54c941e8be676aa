"""Accepted sequences, against a plain set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggregator.ingest.sequences import Sequences

_NUMBERS = st.lists(st.integers(1, 60), max_size=80)


def compare(known: Sequences, accepted: dict[int, int], window: int) -> None:
    for number in range(1, 64):
        if number >= known.floor:
            assert (number in known) == (number in accepted), number
        checksum = known.checksum(number)
        assert checksum in (None, accepted.get(number)), number
        if accepted and number in accepted and number > max(accepted) - window and number >= known.floor:
            assert checksum == accepted[number], "in the window"


@given(numbers=_NUMBERS, window=st.integers(1, 20), runs=st.integers(1, 6))
def test_any_order_keeps_what_it_says(numbers: list[int], window: int, runs: int) -> None:
    known, accepted = Sequences(window, runs), dict[int, int]()
    for number in numbers:
        accepted.setdefault(number, number * 1000)
        known.add(number, accepted[number])
        assert len(known.gaps) < runs
    compare(known, accepted, window)


@given(numbers=_NUMBERS, window=st.integers(1, 20), runs=st.integers(1, 6))
def test_from_the_store_it_says_the_same(numbers: list[int], window: int, runs: int) -> None:
    accepted = {number: number * 1000 for number in numbers}
    floor = max(accepted, default=0) - window + 1
    loaded = [number for number in accepted if number >= floor]
    made = Sequences.of(
        window, runs, floor, np.array(loaded, dtype=np.uint64), np.array([n * 1000 for n in loaded], dtype=np.uint64)
    )
    compare(made, accepted, window)


def test_a_mark_and_gaps() -> None:
    known = Sequences(8, 8)
    for number in (1, 2, 3, 7, 9, 2**63):
        known.add(number, 5)
    assert known.mark == 3
    assert known.gaps == [(4, 6), (8, 8), (10, 2**63 - 1)]
    assert known.checksum(2**63) == 5


def test_gaps_that_stay_are_bounded() -> None:
    known = Sequences(8, 4)
    for number in range(2, 2_000, 2):
        known.add(number, 1)
    assert len(known.gaps) == 3
    assert known.floor == 1_991
    assert 1_998 in known
    assert 1_999 not in known
