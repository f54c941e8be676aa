"""What one stream sends next, and what is on its wire.

Invariants:
    1. at most `window_batches` and `window_bytes` are unanswered, but always one: back-pressure is this wait
    2. the oldest batch that may go goes next; nothing is sent twice on one stream unless it was refused for now
    3. an answer counts only if its batch is on this wire: others are ignored and counted
    4. no batch holds up the others. After a refusal for now everything pauses as long as the aggregator said, since it
       speaks of the aggregator and not of the batch; then the refused batch goes first, and from its second refusal on
       it waits longer than the others
After a refusal for now the window is halved, once a pause; each acknowledgement widens it by one again.
Safe from several threads: one sends, one takes answers, one looks at the deadlines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from node_agent.delivery.spool import Spool
from proto import sonde_pb2 as pb

_LOOK_SECONDS = 0.5  # how long a wait is that nothing may end
_DEFAULT_PAUSE_SECONDS, _SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 0.02, 60.0
_LONGEST_HOLD_SECONDS = 600.0


@dataclass(frozen=True)
class Sent:
    """A batch on the wire."""

    spool_id: bytes
    size: int  # bytes
    at: float  # monotonic seconds


@dataclass(frozen=True)
class Hold:
    """A batch that goes later than its turn."""

    due: float  # monotonic seconds
    times: int  # that it was held


class Outbox:
    """Of one stream. `held` are batches by sequence number that must wait from the start."""

    def __init__(
        self,
        spool: Spool,
        window_batches: int,
        window_bytes: int,
        held: Mapping[int, Hold] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool, self._clock = spool, clock
        self._window = self._limit = window_batches
        self._window_bytes = window_bytes
        self._changed = threading.Condition()
        self._wire: dict[int, Sent] = {}
        self._bytes = 0
        self._held = dict(held or {})
        self._cursor, self._reopened = 0, spool.reopened
        self._paused_until = self._refused_since = 0.0
        self._stopped = False

    # The sender's side

    def next(self) -> pb.SealedBatch | None:
        """Wait for the next batch and put it on the wire; None once `stop` was called."""
        while not self._stopped:
            batch = self._choose()
            if batch is not None and self._admit(batch):
                return batch
        return None

    def _choose(self) -> pb.SealedBatch | None:
        with self._changed:
            now = self._clock()
            if now < self._paused_until:
                self._changed.wait(min(self._paused_until - now, _LOOK_SECONDS))
                return None
            if self._spool.reopened != self._reopened:  # older batches than those sent may wait in the file
                self._reopened, self._cursor = self._spool.reopened, 0
            held = {sequence: hold.due for sequence, hold in self._held.items() if sequence not in self._wire}
            cursor = self._cursor
        due = sorted(sequence for sequence, at in held.items() if at <= now)
        wait = min([at - now for at in held.values()] + [_LOOK_SECONDS])
        for sequence in due:
            batch = self._spool.after(sequence - 1, 0)
            if batch is not None and batch.sequence == sequence:
                return batch
            with self._changed:  # dropped meanwhile: too old, or too many
                self._held.pop(sequence, None)
        batch = self._spool.after(cursor, max(wait, 0.0))
        if batch is None:
            return None
        with self._changed:
            if batch.sequence in self._wire or batch.sequence in self._held:
                self._cursor = batch.sequence
                return None
        return batch

    def _admit(self, batch: pb.SealedBatch) -> bool:
        """Wait for room; False if the choice no longer holds."""
        size = batch.ByteSize()
        with self._changed:
            while self._wire and (len(self._wire) >= self._limit or self._bytes + size > self._window_bytes):
                self._changed.wait(_LOOK_SECONDS)
                if self._stopped:
                    return False
            if self._stopped or self._clock() < self._paused_until:
                return False
            self._wire[batch.sequence] = Sent(batch.spool_id, size, self._clock())
            self._bytes += size
            if batch.sequence > self._cursor and batch.sequence not in self._held:
                self._cursor = batch.sequence
            return True

    def stop(self) -> None:
        """Send nothing more; answers are still taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # The receiver's side

    def has(self, spool_id: bytes, sequence: int) -> bool:
        """Whether this batch is on the wire."""
        with self._changed:
            sent = self._wire.get(sequence)
            return sent is not None and sent.spool_id == spool_id

    def acknowledged(self, sequence: int) -> None:
        """Take a batch off the wire that the spool has forgotten."""
        with self._changed:
            self._off(sequence)
            self._held.pop(sequence, None)
            self._limit = min(self._limit + 1, self._window)
            self._refused_since = 0.0

    def refused(self, sequence: int) -> None:
        """Take a batch off the wire that the spool has put into quarantine."""
        with self._changed:
            self._off(sequence)
            self._held.pop(sequence, None)

    def postponed(self, sequence: int, seconds: float) -> None:
        """Take a batch off the wire and send it again after `seconds` (0: not told), the others not before either."""
        with self._changed:
            self._off(sequence)
            now = self._clock()
            pause = min(max(seconds or _DEFAULT_PAUSE_SECONDS, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            if now >= self._paused_until:
                self._limit = max(self._limit // 2, 1)
            self._paused_until = max(self._paused_until, now + pause)
            self._refused_since = self._refused_since or now
            times = self._held[sequence].times if sequence in self._held else 0
            wait = min(pause * 2**times, max(_LONGEST_HOLD_SECONDS, pause))
            self._held[sequence] = Hold(now + wait if times else self._paused_until, times + 1)

    def _off(self, sequence: int) -> None:
        self._bytes -= self._wire.pop(sequence).size
        self._changed.notify_all()

    # What is told

    @property
    def unanswered(self) -> list[int]:
        """Sequence numbers on the wire, in the order in which they went."""
        with self._changed:
            return list(self._wire)

    @property
    def oldest_at(self) -> float | None:
        """When the longest unanswered batch was sent, monotonic seconds; None if all are answered."""
        with self._changed:
            return next((sent.at for sent in self._wire.values()), None)

    @property
    def refused_since(self) -> float:
        """When the refusals for now began that no acknowledgement has ended, monotonic seconds; 0 if none did."""
        return self._refused_since

    def wait_idle(self, timeout: float) -> bool:
        """Whether everything on the wire is answered within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._wire, timeout)
