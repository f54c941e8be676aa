"""Batches that wait in memory: all of them without a file, the newest ones while the file cannot be written.

Invariants: in order of their numbers; beyond the limit the oldest goes first, never the newest.
On failure (the agent dies) they are lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from proto import sonde_pb2 as pb


class Memory:
    """Batches by number, with the second at which each was sealed (spool_age.py). Not thread-safe by itself."""

    def __init__(self) -> None:
        self._batches: OrderedDict[int, tuple[pb.SealedBatch, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: pb.SealedBatch, sealed_at: int) -> None:
        """Keep a batch that is newer than all here."""
        self._batches[batch.sequence] = batch, sealed_at
        self.bytes += batch.ByteSize()

    def after(self, sequence: int) -> pb.SealedBatch | None:
        """The oldest with a higher number."""
        return next((batch for number, (batch, _) in self._batches.items() if number > sequence), None)

    def some(self, limit_bytes: int) -> list[tuple[pb.SealedBatch, int]]:
        """The newest one, and before it the oldest ones of about `limit_bytes` together."""
        taken: list[tuple[pb.SealedBatch, int]] = []
        size = 0
        for pair in self._batches.values():
            size += pair[0].ByteSize()
            if size > limit_bytes:
                break
            taken.append(pair)
        newest = next(reversed(self._batches.values()))
        return taken if taken and taken[-1] is newest else [*taken, newest]

    def forget(self, sequence: int) -> bool:
        """Remove one; whether it was here."""
        found = self._batches.pop(sequence, None)
        if found is not None:
            self.bytes -= found[0].ByteSize()
        return found is not None

    @property
    def first(self) -> int:
        """The lowest number."""
        return next(iter(self._batches))

    @property
    def oldest_at(self) -> int | None:
        """When the oldest was sealed, seconds of the spool's time."""
        return next((sealed_at for _, sealed_at in self._batches.values()), None)

    def numbers(self) -> list[int]:
        """All, in order."""
        return list(self._batches)

    def forget_all(self, numbers: Iterable[int]) -> None:
        """Remove these."""
        for number in numbers:
            self.forget(number)

    def drop(self, max_bytes: int, sealed_since: float) -> list[int]:
        """Remove what is too much or sealed before `sealed_since`, the oldest first; their numbers."""
        dropped = []
        while len(self._batches) > 1:
            number, (_, sealed_at) = next(iter(self._batches.items()))
            if self.bytes <= max_bytes and sealed_at >= sealed_since:
                break
            self.forget(number)
            dropped.append(number)
        return dropped
