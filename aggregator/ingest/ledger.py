"""Which batches were accepted, with a checksum each, so that a batch is stored once and its id never changes meaning.

Invariants: an id is recorded after all inserts of its batch returned, and acknowledged after it is recorded. After a
SIGKILL between those steps the agent sends the batch again, and the store's deduplication tokens keep each insert
single. The memory holds the newest ids of every spool; an older one is looked up in the store.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from aggregator.storage.client import Store

PER_SPOOL = 4_096
SPOOLS = 4_096


@dataclass(frozen=True)
class BatchId:
    """(agent, spool, sequence)."""

    agent: str
    spool_id: bytes
    sequence: int

    def token(self, table: str) -> str:
        """Deduplication token of this batch's insert into `table`."""
        return f"{self.agent}/{self.spool_id.hex()}/{self.sequence}/{table}"


Spool = tuple[str, bytes]


class Ledger:
    """Accepted ids; thread-safe."""

    def __init__(self, store: Store, per_spool: int = PER_SPOOL, spools: int = SPOOLS) -> None:
        """Load the newest ids of every spool from the store.

        Raises:
            StoreError: the store cannot be read.
        """
        self._store = store
        self._lock = threading.Lock()
        self._per_spool = per_spool
        self._max_spools = spools
        self._spools: OrderedDict[Spool, OrderedDict[int, int]] = OrderedDict()
        self._forgotten: set[Spool] = set()
        self._spools_forgotten = False
        for agent, spool_id, sequence, checksum in reversed(store.rows("ledger", {"per_spool": per_spool})):
            self._remember(BatchId(agent, spool_id, sequence), checksum)
        for spool, accepted in self._spools.items():
            if len(accepted) >= per_spool:
                self._forgotten.add(spool)

    def checksum(self, batch: BatchId) -> int | None:
        """Checksum under which `batch` was accepted; None if it was not.

        Raises:
            StoreError: the store had to be asked and failed.
        """
        spool = (batch.agent, batch.spool_id)
        with self._lock:
            accepted = self._spools.get(spool)
            known = accepted.get(batch.sequence) if accepted is not None else None
            if known is not None:
                return known
            if accepted is None:
                ask = self._spools_forgotten
            else:
                ask = spool in self._forgotten and batch.sequence < min(accepted, default=0)
        if not ask:
            return None
        parameters = {"agent": batch.agent, "spool_id": batch.spool_id.hex(), "sequence": batch.sequence}
        rows = self._store.rows("ledger_entry", parameters)
        return int(rows[0][0]) if rows else None

    def accept(self, batch: BatchId, checksum: int) -> None:
        """Record `batch`; call after its inserts and before its acknowledgement.

        Raises:
            StoreError: not recorded; do not acknowledge.
        """
        row = pa.table(
            {
                "time": pa.array([time.time_ns() // 1000], pa.timestamp("us", "UTC")),
                "agent": [batch.agent],
                "spool_id": pa.array([batch.spool_id], pa.binary(16)),
                "sequence": pa.array(np.array([batch.sequence], dtype=np.uint64)),
                "checksum": pa.array(np.array([checksum], dtype=np.uint64)),
            }
        )
        self._store.insert("accepted_batches", row, batch.token("accepted_batches"))
        with self._lock:
            self._remember(batch, checksum)

    def _remember(self, batch: BatchId, checksum: int) -> None:
        spool = (batch.agent, batch.spool_id)
        accepted = self._spools.setdefault(spool, OrderedDict())
        self._spools.move_to_end(spool)
        accepted[batch.sequence] = checksum
        while len(accepted) > self._per_spool:
            accepted.popitem(last=False)
            self._forgotten.add(spool)
        while len(self._spools) > self._max_spools:
            gone, _ = self._spools.popitem(last=False)
            self._forgotten.discard(gone)
            self._spools_forgotten = True
