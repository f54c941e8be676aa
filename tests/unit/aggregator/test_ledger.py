"""The ledger, over a store that is a dict."""

from __future__ import annotations

from typing import Any

from aggregator.ingest.ledger import BatchId, Ledger


class FakeStore:
    def __init__(self) -> None:
        self.entries: dict[tuple[str, bytes, int], int] = {}
        self.asked = 0

    def insert(self, table: str, rows: Any, token: str) -> None:
        assert table == "accepted_batches"
        row = rows.to_pylist()[0]
        self.entries.setdefault((row["agent"], row["spool_id"], row["sequence"]), row["checksum"])
        assert token.endswith("/accepted_batches")

    def rows(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        if name == "ledger":
            newest_first = sorted(self.entries.items(), reverse=True)
            kept = [(*key, checksum) for key, checksum in newest_first]
            return kept[: parameters["per_spool"]]
        self.asked += 1
        key = (parameters["agent"], bytes.fromhex(parameters["spool_id"]), parameters["sequence"])
        return [(self.entries[key],)] if key in self.entries else []


def batch(sequence: int, spool: bytes = b"s" * 16) -> BatchId:
    return BatchId("web", spool, sequence)


def test_an_accepted_batch_is_known_by_its_checksum() -> None:
    ledger = Ledger(FakeStore())
    assert ledger.checksum(batch(1)) is None
    ledger.accept(batch(1), 42)
    assert ledger.checksum(batch(1)) == 42
    assert ledger.checksum(batch(2)) is None
    assert ledger.checksum(batch(1, b"t" * 16)) is None


def test_a_new_ledger_knows_what_the_store_knows() -> None:
    store = FakeStore()
    Ledger(store).accept(batch(1), 42)
    assert Ledger(store).checksum(batch(1)) == 42


def test_the_memory_is_bounded_and_the_store_answers_for_the_rest() -> None:
    store = FakeStore()
    ledger = Ledger(store, per_spool=4)
    for sequence in range(1, 11):
        ledger.accept(batch(sequence), sequence * 7)
    assert [ledger.checksum(batch(sequence)) for sequence in range(1, 12)] == [*range(7, 71, 7), None]
    assert store.asked == 6
    again = Ledger(store, per_spool=4)
    assert again.checksum(batch(2)) == 14


def test_spools_are_bounded_too() -> None:
    store = FakeStore()
    ledger = Ledger(store, spools=2)
    for number in range(5):
        ledger.accept(batch(1, bytes([number]) * 16), number)
    assert [ledger.checksum(batch(1, bytes([number]) * 16)) for number in range(5)] == [0, 1, 2, 3, 4]
