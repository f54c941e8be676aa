"""Which requests get a row of their own; the others are summed up exactly, and kept for a minute.

Every row has a class (node_agent/budget.py): failed, slow (over its protocol's threshold), unusual (over the p99 of
its kind), other. Of each class the share is sent that the budget leaves, chosen by exchange_id: both ends of a request
choose alike. Invariants: a request is in a row of weight 1, or in `unsampled`, never in both and never in neither; a
row that was asked for by the aggregator is sent whatever the shares.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.budget import CLASSES, EVERYTHING, FAILED, NAMES, OTHER, SLOW, UNUSUAL, Shares
from node_agent.config import AgentSettings
from node_agent.recent import Recent
from node_agent.sums import Sums
from node_agent.usual import Usual, kinds
from proto import sonde_pb2 as pb
from sonde import batches
from sonde.ids import exchange_ids, mix64

Array = npt.NDArray[Any]
Columns = dict[str, Array]
U64 = npt.NDArray[np.uint64]

FAILURES = (pb.CLIENT_ERROR, pb.SERVER_ERROR, pb.NO_RESPONSE)
_UNITS_PER_MS = 10_000
#: Bits of a hash that a float holds exactly.
_BITS = 53


def identities(columns: Columns) -> U64:
    """exchange_id of each row, 0 without one; shape (n,)."""
    return exchange_ids(columns["connection_id"].astype(np.uint64), columns["offset"].astype(np.uint64))


def within(identity: U64, share: Array | float) -> npt.NDArray[np.bool_]:
    """Whether a hash lies in the first `share` of all; nested: what is within a share is within every larger one."""
    place = (identity >> np.uint64(64 - _BITS)).astype(np.float64)
    chosen: npt.NDArray[np.bool_] = place < np.asarray(share) * 2.0**_BITS
    return chosen


def _identities_of_all(columns: Columns, exchange: U64) -> U64:
    # Without an exchange_id there is no other end to agree with: any hash will do.
    without = exchange == 0
    if not without.any():
        return exchange
    own = mix64(columns["connection"].astype(np.uint64)) + columns["offset"].astype(np.uint64)
    return np.where(without, mix64(own), exchange)


class Chooser:
    """Splits blocks of rows. `shares` may be set at any time. Column `shown` of a row is the statement it carries."""

    def __init__(self, settings: AgentSettings) -> None:
        self.shares: Shares = EVERYTHING
        self.sums = Sums()
        self.usual = Usual()
        self.recent = Recent(settings.recent.seconds, settings.recent.max_bytes, settings.recent.wait_seconds)
        self._texts = settings.texts.share
        default = settings.slow.ms
        numbers = [int(default * _UNITS_PER_MS)] * (max(pb.Protocol.values()) + 1)
        for name, threshold_ms in settings.slow.protocols.items():
            numbers[pb.Protocol.Value(name.upper())] = int(threshold_ms * _UNITS_PER_MS)
        self._slow = np.array(numbers, dtype=np.uint64)
        self._seen = np.zeros(CLASSES, dtype=np.int64)

    def seen(self) -> list[int]:
        """Rows of each class since the last call."""
        seen, self._seen = self._seen, np.zeros(CLASSES, dtype=np.int64)
        return [int(count) for count in seen]

    def choose(self, blocks: list[Columns]) -> list[Columns]:
        """The rows of `blocks` that are sent; what is left is in `sums` and in `recent`."""
        chosen = [self._choose(block) for block in blocks if len(block["start"])]
        return [block for block in chosen if block is not None]

    def _classes(self, block: Columns) -> Array:
        above = self.usual.above(kinds(block), block["duration"])
        slow = block["duration"] >= self._slow[block["protocol"]]
        failed = np.isin(block["status"], FAILURES)
        return np.where(failed, FAILED, np.where(slow, SLOW, np.where(above, UNUSUAL, OTHER)))

    def _choose(self, block: Columns) -> Columns | None:
        classes = self._classes(block)
        self._seen += np.bincount(classes, minlength=CLASSES)
        telling = classes != OTHER
        block["flags"] = block["flags"] | np.where((classes == SLOW) | (classes == UNUSUAL), batches.SLOW, 0)
        block["shown"] = block["statement"]
        if self.shares.all and self._texts >= 1 and not self.recent.awaiting:
            return block
        exchange = identities(block)
        identity = _identities_of_all(block, exchange)
        keep = within(identity, np.array(self.shares.rows)[classes])
        awaited = self.recent.awaited(exchange)
        if awaited is not None:
            keep |= awaited
            telling |= awaited
        if not keep.all():
            self._leave(block, exchange, ~keep)
            block = {name: column[keep] for name, column in block.items()}
            telling, identity = telling[keep], identity[keep]
        if not len(telling):
            return None
        if self._texts < 1:
            with_text = telling | within(identity, self._texts)
            block["shown"] = np.where(with_text, block["statement"], 0)
        return block

    def _leave(self, block: Columns, exchange: U64, rest: npt.NDArray[np.bool_]) -> None:
        if not rest.all():
            block, exchange = {name: column[rest] for name, column in block.items()}, exchange[rest]
        groups, common = self.sums.add(block)
        self.recent.add(block, exchange, groups, common, time.monotonic())

    def halves(self) -> list[Columns]:
        """Rows that the aggregator asked for, with weight 0."""
        now = time.monotonic()
        self.recent.expire(now)
        return self.recent.halves(now)

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name."""
        recent = self.recent
        return {
            "unsampled": self.sums.requests,
            "halves_asked": recent.asked,
            "halves_sent": recent.found,
            "halves_missing": recent.missing + recent.refused,
        }

    def gauges(self) -> dict[str, int]:
        """What is the case now: shares in millionths, where they are not 1, and what is kept."""
        shares = {f"share_ppm/{name}": round(share * 1e6) for name, share in zip(NAMES, self.shares.rows, strict=True)}
        kept = {"recent_rows": self.recent.rows, "recent_bytes": self.recent.bytes} if self.recent.bytes else {}
        return {name: share for name, share in shares.items() if share < 1_000_000} | kept
