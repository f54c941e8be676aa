"""Which sequences of one spool were accepted, with the checksums of the newest.

Invariants: a sequence from `floor` on is in `runs` exactly if it was added; below `floor` this memory says nothing and
the store is asked. Runs are ascending, apart, at most `runs` of them: where a spool leaves more gaps (it drops its
oldest batches, and keeps some under other ids) the lowest run goes and `floor` rises, so a gap never blocks and never
costs memory for good. Checksums are kept for the newest `window` sequences, in a ring.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]


class Sequences:
    """Accepted sequences of one spool; not thread-safe."""

    def __init__(self, window: int, runs: int, floor: int = 0) -> None:
        self.floor = floor
        self._window = window
        self._most = runs
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._ring = np.zeros((2, window), dtype=np.uint64)

    @classmethod
    def of(cls, window: int, runs: int, floor: int, sequences: U64, checksums: U64) -> Sequences:
        """From all that was accepted from `floor` on, in any order, shape (n,)."""
        made = cls(window, runs, max(floor, 0))
        order = np.argsort(sequences, kind="stable")
        ordered = sequences[order]
        if len(ordered) == 0:
            return made
        breaks = np.flatnonzero(np.diff(ordered) > 1)
        made._starts = ordered[np.concatenate([[0], breaks + 1])].tolist()
        made._ends = ordered[np.concatenate([breaks, [len(ordered) - 1]])].tolist()
        slots = (ordered % np.uint64(window)).astype(np.int64)
        made._ring[0, slots], made._ring[1, slots] = ordered, checksums[order]  # ascending: the newest stays
        made._bound()
        return made

    @property
    def mark(self) -> int:
        """The end of the first run; 0 without one."""
        return self._ends[0] if self._ends else 0

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Sequences between the runs, as (first, last)."""
        return [(end + 1, start - 1) for end, start in zip(self._ends, self._starts[1:], strict=False)]

    def __contains__(self, sequence: int) -> bool:
        at = bisect_right(self._starts, sequence) - 1
        return at >= 0 and sequence <= self._ends[at]

    def checksum(self, sequence: int) -> int | None:
        """Checksum of a sequence that is in the window; None otherwise."""
        slot = sequence % self._window
        known = sequence in self and int(self._ring[0, slot]) == sequence
        return int(self._ring[1, slot]) if known else None

    def add(self, sequence: int, checksum: int) -> None:
        """`sequence` was accepted."""
        slot = sequence % self._window
        if sequence >= int(self._ring[0, slot]):
            self._ring[:, slot] = sequence, checksum
        if sequence < self.floor or sequence in self:
            return
        at = bisect_right(self._starts, sequence)
        joins_left = at > 0 and self._ends[at - 1] == sequence - 1
        joins_right = at < len(self._starts) and self._starts[at] == sequence + 1
        if joins_left and joins_right:
            self._ends[at - 1] = self._ends.pop(at)
            self._starts.pop(at)
        elif joins_left:
            self._ends[at - 1] = sequence
        elif joins_right:
            self._starts[at] = sequence
        else:
            self._starts.insert(at, sequence)
            self._ends.insert(at, sequence)
            self._bound()

    def _bound(self) -> None:
        surplus = len(self._starts) - self._most
        if surplus > 0:
            self.floor = self._ends[surplus - 1] + 1
            del self._starts[:surplus], self._ends[:surplus]
