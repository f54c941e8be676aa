"""A store for tests: tables as lists of rows, an insert once per token, the ledger's queries."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from types import SimpleNamespace
from typing import Any


class FakeStore:
    """`inserts` are (table, token, rows), repetitions left out; `step` is called before and after each insert."""

    def __init__(self, embedded: bool = True) -> None:
        self.url = SimpleNamespace(embedded=embedded)
        self.entries: dict[tuple[str, bytes, int], int] = {}
        self.tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.inserts: list[tuple[str, str, int]] = []
        self.asked = 0
        self.step = lambda _: None

    def insert(self, table: str, rows: Any, token: str) -> None:
        self.step(f"before {table}")
        if (table, token) not in {(name, known) for name, known, _ in self.inserts}:
            self.inserts.append((table, token, rows.num_rows))
            self.tables[table] += rows.to_pylist()
            if table == "accepted_batches":
                for row in rows.to_pylist():
                    self.entries[row["agent"], row["spool_id"], row["sequence"]] = row["checksum"]
        self.step(f"after {table}")

    def rows(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        if name == "ledger_entry":
            self.asked += 1
            key = (parameters["agent"], bytes.fromhex(parameters["spool_id"]), parameters["sequence"])
            return [(self.entries[key],)] if key in self.entries else []
        spools = []
        for spool, keys in groupby(sorted(self.entries), key=lambda key: key[:2]):
            numbers = [key[2] for key in keys]
            kept = [number for number in numbers if number + parameters["window"] > max(numbers)]
            spools.append((*spool, max(numbers), kept, [self.entries[(*spool, number)] for number in kept]))
        if name == "ledger":
            return spools[: parameters["spools"]]
        assert name == "ledger_spool"
        wanted = (parameters["agent"], bytes.fromhex(parameters["spool_id"]))
        return [row[2:] for row in spools if row[:2] == wanted]
