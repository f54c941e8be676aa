"""The ledger, over a store that is a dict."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from aggregator.ingest.batch import BatchId
from aggregator.ingest.ledger import Ledger, Verdict
from tests.unit.aggregator.stores import FakeStore


def batch(sequence: int, spool: bytes = b"s" * 16) -> BatchId:
    return BatchId("web", spool, sequence)


def block(*accepted: tuple[BatchId, int], identity: str = "") -> Any:
    parts = [SimpleNamespace(batch=one, sealed=SimpleNamespace(checksum=checksum)) for one, checksum in accepted]
    return SimpleNamespace(id=identity or uuid.uuid4().hex, made_us=1_800_000_000_000_000, parts=parts)


def test_an_accepted_batch_is_known_by_its_checksum() -> None:
    ledger = Ledger(FakeStore())
    assert ledger.verdict(batch(1), 42) is Verdict.NEW
    ledger.accept(block((batch(1), 42)))
    assert ledger.verdict(batch(1), 42) is Verdict.REPEATED
    assert ledger.verdict(batch(1), 43) is Verdict.CHANGED
    assert ledger.verdict(batch(2), 42) is Verdict.NEW
    assert ledger.verdict(batch(1, b"t" * 16), 42) is Verdict.NEW


def test_a_block_is_one_insert_with_its_id_as_token() -> None:
    store = FakeStore()
    Ledger(store).accept(block((batch(1), 1), (batch(2), 2), (batch(9, b"t" * 16), 3), identity="abc"))
    assert store.inserts == [("accepted_batches", "abc", 3)]


def test_a_new_ledger_knows_what_the_store_knows() -> None:
    store = FakeStore()
    Ledger(store).accept(block((batch(1), 42), (batch(5), 43)))
    again = Ledger(store)
    assert again.verdict(batch(1), 42) is Verdict.REPEATED
    assert again.verdict(batch(5), 42) is Verdict.CHANGED
    assert again.verdict(batch(3), 42) is Verdict.NEW, "a gap that is filled late"


def test_the_memory_is_bounded_and_the_store_answers_for_the_rest() -> None:
    store = FakeStore()
    ledger = Ledger(store, window=4)
    for sequence in range(1, 11):
        ledger.accept(block((batch(sequence), sequence * 7)))
    for known in (ledger, Ledger(store, window=4)):
        store.asked = 0
        for sequence in range(1, 11):
            assert known.verdict(batch(sequence), sequence * 7) is Verdict.REPEATED
            assert known.verdict(batch(sequence), 1) is Verdict.CHANGED
        assert known.verdict(batch(11), 77) is Verdict.NEW
        assert store.asked == 12, "twice for each of the six that left the window"


def test_what_was_accepted_stays_so_when_the_store_forgot_its_checksum() -> None:
    store = FakeStore()
    ledger = Ledger(store, window=2)
    for sequence in range(1, 6):
        ledger.accept(block((batch(sequence), sequence)))
    store.entries.clear()
    assert ledger.verdict(batch(1), 99) is Verdict.REPEATED


def test_gaps_beyond_the_bound_are_asked_at_the_store() -> None:
    store = FakeStore()
    ledger = Ledger(store, window=100, runs=2)
    for sequence in (1, 3, 5, 7, 9):
        ledger.accept(block((batch(sequence), sequence)))
    found = [ledger.verdict(batch(sequence), sequence) for sequence in range(1, 11)]
    assert found == [Verdict.REPEATED, Verdict.NEW] * 5


@pytest.mark.parametrize("restart", [False, True])
def test_spools_are_bounded_too(restart: bool) -> None:
    store = FakeStore()
    ledger = Ledger(store, spools=2)
    spools = [bytes([number]) * 16 for number in range(5)]
    for number, spool in enumerate(spools):
        ledger.accept(block((batch(6, spool), number), (batch(4, spool), number)))
    if restart:
        ledger = Ledger(store, spools=2)
    for number, spool in enumerate(spools):
        assert ledger.verdict(batch(3, spool), number) is Verdict.NEW
        ledger.accept(block((batch(3, spool), number)))
        for sequence in (3, 4, 6):
            assert ledger.verdict(batch(sequence, spool), number) is Verdict.REPEATED
        assert ledger.verdict(batch(5, spool), number) is Verdict.NEW


def test_with_other_aggregators_on_the_store_it_is_asked() -> None:
    store = FakeStore(embedded=False)
    ours, other = Ledger(store), Ledger(store)
    other.accept(block((batch(1), 1)))
    ours.accept(block((batch(2), 2)))
    assert ours.verdict(batch(1), 1) is Verdict.REPEATED
    assert ours.verdict(batch(1), 2) is Verdict.CHANGED
    assert ours.verdict(batch(3), 2) is Verdict.NEW
