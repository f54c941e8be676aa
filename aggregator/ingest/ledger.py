"""Which batches were accepted, with a checksum each, so that a batch is stored once and its id never changes meaning.

Invariants:
    1. an id is in the ledger only after every insert of its block returned; it is acknowledged only after it is here
    2. the table `accepted_batches` is the ledger: one insert a block, with the block's id as its token, all rows of
       one partition, so that it holds all ids of a block or none
    3. what the memory does not say for certain (old sequences, many spools, other aggregators on the same store) is
       read from the table; what neither knows was not accepted
Memory, per spool: runs of accepted sequences and the checksums of the newest (sequences.py). Its numbers are bounded.
"""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict

import numpy as np
import pyarrow as pa

from aggregator.ingest.batch import BatchId, Block
from aggregator.ingest.sequences import Sequences
from aggregator.storage.client import Store

TABLE = "accepted_batches"
WINDOW = 1_024
RUNS = 256
SPOOLS = 4_096


class Verdict(enum.Enum):
    """What the ledger says of an id and a checksum."""

    NEW = 1
    REPEATED = 2
    CHANGED = 3


Spool = tuple[str, bytes]


class Ledger:
    """Accepted ids; thread-safe."""

    def __init__(self, store: Store, window: int = WINDOW, runs: int = RUNS, spools: int = SPOOLS) -> None:
        """Load the newest sequences of every spool from the store.

        Raises:
            StoreError: the store cannot be read.
        """
        self._store = store
        self._lock = threading.Lock()
        self._window, self._runs, self._most = window, runs, spools
        self._spools: OrderedDict[Spool, Sequences] = OrderedDict()
        rows = store.rows("ledger", {"window": window, "spools": spools})
        for agent, spool_id, *accepted in reversed(rows):
            self._spools[agent, spool_id] = self._sequences(*accepted)
        #: Whether a spool that is not in memory may be in the store all the same.
        self._others = len(rows) >= spools
        self._accepted = 0

    def _sequences(self, newest: int, sequences: list[int], checksums: list[int]) -> Sequences:
        numbers, sums = np.array(sequences, dtype=np.uint64), np.array(checksums, dtype=np.uint64)
        return Sequences.of(self._window, self._runs, newest - self._window + 1, numbers, sums)

    def verdict(self, batch: BatchId, checksum: int) -> Verdict:
        """Whether `batch` was accepted before, and with that content.

        Raises:
            StoreError: the store had to be asked and failed.
        """
        name = (batch.agent, batch.spool_id)
        with self._lock:
            spool, before = self._spools.get(name), self._accepted
        if spool is None and self._others:
            spool = self._load(name, before)
        with self._lock:
            accepted = spool is not None and batch.sequence in spool
            known = spool.checksum(batch.sequence) if spool is not None else None
            certain = self._store.url.embedded and (spool is None or batch.sequence >= spool.floor)
        if known is None and (accepted or not certain):
            parameters = {"agent": batch.agent, "spool_id": batch.spool_id.hex(), "sequence": batch.sequence}
            rows = self._store.rows("ledger_entry", parameters)
            known = int(rows[0][0]) if rows else None
        if known is not None:
            return Verdict.REPEATED if known == checksum else Verdict.CHANGED
        return Verdict.REPEATED if accepted else Verdict.NEW

    def _load(self, name: Spool, before: int) -> Sequences:
        """A spool that was forgotten; remembered unless something was accepted meanwhile, which it may lack."""
        rows = self._store.rows("ledger_spool", {"agent": name[0], "spool_id": name[1].hex(), "window": self._window})
        spool = self._sequences(*rows[0]) if rows else Sequences(self._window, self._runs)
        with self._lock:
            if self._accepted == before:
                self._put(name, spool)
        return spool

    def accept(self, block: Block) -> None:
        """Record all batches of `block`; call after its inserts and before its acknowledgements.

        Raises:
            StoreError: not recorded; do not acknowledge.
        """
        ids = [part.batch for part in block.parts]
        rows = pa.table(
            {
                "time": pa.array([block.made_us] * len(ids), pa.timestamp("us", "UTC")),
                "agent": [batch.agent for batch in ids],
                "spool_id": pa.array([batch.spool_id for batch in ids], pa.binary(16)),
                "sequence": pa.array([batch.sequence for batch in ids], pa.uint64()),
                "checksum": pa.array([part.sealed.checksum for part in block.parts], pa.uint64()),
            }
        )
        self._store.insert(TABLE, rows, block.id)
        with self._lock:
            self._accepted += 1
            for part in block.parts:
                self._remember(part.batch, part.sealed.checksum)

    def _remember(self, batch: BatchId, checksum: int) -> None:
        name = (batch.agent, batch.spool_id)
        spool = self._spools.get(name)
        if spool is None and self._others:
            return  # what it had before is in the store alone, and is loaded when the spool comes again
        spool = spool or Sequences(self._window, self._runs)
        spool.add(batch.sequence, checksum)
        self._put(name, spool)

    def _put(self, name: Spool, spool: Sequences) -> None:
        self._spools[name] = spool
        self._spools.move_to_end(name)
        while len(self._spools) > self._most:
            self._spools.popitem(last=False)
            self._others = True
