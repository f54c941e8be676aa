"""Sealed batches that wait for their acknowledgement: on disk, and in memory while the disk refuses.

Invariants:
    1. a batch is durable before it can be sent, unless `in_memory` says that the spool is not
    2. an id (spool id, sequence) has one content for ever: over restarts, crashes, damage, and failures of the disk
    3. `after` gives batches in the order of their numbers, which only grow; nothing acknowledged, refused or dropped
       comes again, except that a crash may forget the last acknowledgements
    4. what is handed out is byte for byte what was sealed
    5. bytes and age are bounded; the oldest goes first, the newest never; setting the clock ages nothing (spool_age.py)
    6. sealed = acknowledged + refused + dropped + waiting; what a kill took from memory is in `dropped` after the next
       start, and so is what damage took, as far as the rest of the files tells; after a kill between a commit whose end
       is not known and the next attempt this can be wrong by the batches of that commit
    7. neither a full, read-only or failing disk nor any content of the file raises an exception here
Design: two stores in the order of one count. spool_file.py holds what is on disk (SQLite); spool_memory.py what could
not be written, under an id of its own, since numbers that were never committed may be given again after a restart. A
batch whose commit failed keeps its id: the commit may have reached the disk. Where the file cannot be opened at the
start, numbers begin at the Unix time in us, above those in the file. Reading goes row by row; memory holds what is on
the wire.
Recovery: a restart goes on with id, numbers and bytes of the file. A damaged file is set aside and a new one with a new
id begun. After any other failure of the disk, new batches stay in memory; at growing intervals (30 s to 10 min) one is
tried on disk, and once that works the others follow. One line in the log each way, counters in agent_stats and on
/metrics.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import zstandard

from node_agent.delivery.spool_age import AgeClock, since_boot
from node_agent.delivery.spool_file import SpoolFile
from node_agent.delivery.spool_memory import Memory
from node_agent.delivery.spool_sqlite import FAULTS, is_damage, is_full
from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION
from sonde.errors import SpoolError

_log = logging.getLogger("sonde.agent.delivery")

_LEVEL = 3
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 30.0, 600.0
_MOVED_BYTES = 4 << 20  # that go from memory to disk with one append


class Spool:
    """Batches by sequence number. Safe from several threads."""

    def __init__(
        self,
        agent: str,
        max_bytes: int,
        path: str = "",
        *,
        memory_bytes: int = 64 << 20,
        max_age_seconds: float = math.inf,
        quarantine_bytes: int = 16 << 20,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = since_boot,
    ) -> None:
        """`path` of the file, empty for memory only; `clock` gives Unix time, `monotonic` seconds since boot.

        Raises:
            SpoolError: another agent uses the file.
        """
        self._agent, self._max_bytes, self._max_age = agent, max_bytes, max_age_seconds
        self._memory_bytes = min(max_bytes, memory_bytes)
        self._clock, self._monotonic = clock, monotonic
        self._ages = AgeClock(clock, monotonic)
        self._changed = threading.Condition()
        self._sealing = threading.Lock()  # a compressor is one thread's
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._memory, self._memory_id = Memory(), os.urandom(16)
        self._file = SpoolFile(Path(path), agent, quarantine_bytes, self._ages) if path else None
        self._next = 1
        self._retry_at, self._retry_wait = 0.0, _FIRST_RETRY_SECONDS
        self._full = False
        self._damaged = 0
        self._opened = False
        self.reopened = 0  # after each, batches may wait that are older than what was read last
        self.failing = False
        self.failures = 0
        self.dropped = 0
        self.refused = 0
        self.acknowledged = 0
        self.sealed_bytes = 0
        if self._file is not None:
            try:
                self._open(self._file)
            except FAULTS as error:
                self._fail(self._file, error)
                # Above the numbers in a file that cannot be read now and may be later.
                self._next = int(clock() * 1e6)

    # The agent's side

    def seal(self, batch: pb.Batch) -> int:
        """Number, compress and keep a batch; its sequence number."""
        plain = batch.SerializeToString()
        with self._sealing:
            content = self._compressor.compress(plain)
        checksum = int.from_bytes(hashlib.blake2b(content).digest()[:8], "little")
        with self._changed:
            sequence, self._next = self._next, self._next + 1
            file = self._reserve(sequence)
            sealed = pb.SealedBatch(
                wire_version=WIRE_VERSION,
                agent=self._agent,
                spool_id=file.id if file is not None else self._memory_id,
                sequence=sequence,
                content=content,
                content_bytes=len(plain),
                checksum=checksum,
            )
            self.sealed_bytes += len(content)
            self._memory.add(sealed, int(self._ages.now()))
            if file is None and not self.failing:
                file = self._file  # a new one was begun
            if file is not None:
                self._write(file)
            gone = self._memory.drop(self._memory_bytes, self._since())
            self.dropped += len(gone)
            self._gone_from_memory(gone)
            self._changed.notify_all()
            return sequence

    def _since(self) -> float:
        return self._ages.now() - self._max_age

    def _reserve(self, sequence: int) -> SpoolFile | None:
        """The file under whose id `sequence` is given out, None if it is not written to now."""
        file = self._file
        if file is None or (self.failing and self._monotonic() < self._retry_at):
            return None
        try:
            if self.failing and self._full and file.is_open:
                file.make_room()
            elif self.failing:
                self._open(file)
            file.reserve(sequence)
        except (*FAULTS, SpoolError) as error:
            self._fail(file, error)
            return None
        return file

    def _write(self, file: SpoolFile) -> None:
        """From memory to disk: the newest batch, and of those that had to wait the oldest."""
        for _ in range(2):  # once more after damage, on a new file
            batches = self._memory.some(_MOVED_BYTES)
            try:
                dropped = file.append(batches, self._max_bytes, self._since())
            except FAULTS as error:
                self._fail(file, error)
                if self.failing:
                    return
                continue
            for batch, _ in batches:
                self._memory.forget(batch.sequence)
            self.dropped += dropped
            if self.failing:
                _log.info("the spool %s works again", file.path)
                self.failing, self._retry_wait = False, _FIRST_RETRY_SECONDS
            return

    # The stream's side

    def after(self, sequence: int, timeout: float) -> pb.SealedBatch | None:
        """The oldest batch with a higher number; None if there is none within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = self._after(sequence) if self._next - 1 > sequence else None
                if found is not None or (left := deadline - time.monotonic()) <= 0:
                    return found
                self._changed.wait(left)

    def _after(self, sequence: int) -> pb.SealedBatch | None:
        on_disk = None
        if self._file is not None:
            try:
                on_disk = self._file.after(sequence)
            except FAULTS as error:
                self._file.disconnect()
                self._fail(self._file, error)
            self._count_damaged(self._file)
        in_memory = self._memory.after(sequence)
        if on_disk is None or in_memory is None:
            return on_disk or in_memory
        return min(on_disk, in_memory, key=lambda batch: batch.sequence)

    def acknowledge(self, sequence: int) -> None:
        """Forget a batch: its rows are in the store."""
        with self._changed:
            self.acknowledged += self._forget(sequence)

    def refuse(self, sequence: int, code: str = "", message: str = "") -> None:
        """Move a batch that the aggregator will never take into quarantine; counted."""
        with self._changed:
            file, moved = self._file, False
            if file is not None and file.is_open and not self.failing:
                try:
                    moved = file.quarantine(sequence, code, message, int(self._clock()))
                    if code == "CHANGED_CONTENT":  # as after a snapshot was restored: these numbers are used up
                        file.renew()
                except FAULTS as error:
                    self._fail(file, error)
            self.refused += self._forget(sequence) or moved

    def _forget(self, sequence: int) -> bool:
        found, file = self._memory.forget(sequence), self._file
        if file is not None:
            if found:
                self._gone_from_memory([sequence])
            try:
                found |= file.forget(sequence)
                if file.crowded and not self.failing:
                    file.flush()
            except FAULTS as error:
                self._fail(file, error)
        self._changed.notify_all()
        return found

    def _gone_from_memory(self, numbers: list[int]) -> None:
        if self._file is not None:
            self._file.note(len(self._memory))
            if self.failing:
                self._file.forget_late(numbers)

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing is left to acknowledge."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.waiting, timeout)

    def close(self) -> None:
        """An orderly end; what waits on disk is sent after the next start."""
        with self._changed:
            if self._file is not None:
                try:
                    self._file.close()
                except FAULTS as error:
                    _log.warning("the spool %s was not closed in order: %s", self._file.path, error)

    # When the disk fails

    def _open(self, file: SpoolFile) -> None:
        lost = file.open(len(self._memory))
        if self._memory and not self._opened and file.last >= self._memory.first:
            file.disconnect()
            raise OSError("its numbers and those in memory overlap")
        # What a failed commit left in memory may have reached the disk.
        self._memory.forget_all(number for number in self._memory.numbers() if file.has(number))
        file.note(len(self._memory))
        self._next = max(self._next, file.last + 1)
        self._opened = True
        self.reopened += 1
        self._lost(file, lost)

    def _lost(self, file: SpoolFile, lost: int) -> None:
        self.dropped += lost
        if lost:
            _log.warning("the spool %s lost %d batches", file.path, lost)

    def _fail(self, file: SpoolFile, error: Exception) -> None:
        """Go on: on a new file if this one is damaged, else in memory."""
        self.failures += 1
        if is_damage(error):
            try:
                self._lost(file, file.begin_anew(error))
                return
            except FAULTS as another:
                error = another
        if not self.failing:
            _log.warning("the spool %s cannot be used (%s): batches wait in memory only", file.path, error)
        self._full = is_full(error)
        self.failing = True
        self._retry_at = self._monotonic() + self._retry_wait
        self._retry_wait = min(self._retry_wait * 2, _LONGEST_RETRY_SECONDS)

    def _count_damaged(self, file: SpoolFile) -> None:
        self.dropped += file.damaged - self._damaged
        self._damaged = file.damaged

    # What is told

    @property
    def id(self) -> bytes:
        """Under which new batches are sealed."""
        return self._memory_id if self._file is None or self.failing else self._file.id

    @property
    def waiting(self) -> int:
        """Batches that wait for their acknowledgement."""
        return len(self._memory) + (self._file.count if self._file is not None else 0)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for their acknowledgement."""
        return self._memory.bytes + (self._file.bytes if self._file is not None else 0)

    @property
    def oldest_seconds(self) -> float:
        """Since the oldest batch that waits was sealed; 0 if none waits."""
        with self._changed:
            on_disk = None
            if self._file is not None:
                with contextlib.suppress(*FAULTS):  # whoever reads or writes next says so
                    on_disk = self._file.oldest_at()
            found = [at for at in (on_disk, self._memory.oldest_at) if at is not None]
            return max(self._ages.now() - min(found), 0.0) if found else 0.0

    @property
    def in_memory(self) -> bool:
        """Whether new batches would not survive the agent, as was asked for or because the disk fails."""
        return self._file is None or self.failing

    @property
    def set_aside(self) -> int:
        """Files that were set aside since the start."""
        return self._file.set_aside if self._file is not None else 0

    @property
    def quarantined(self) -> int:
        """Batches in quarantine, those of earlier runs included."""
        return self._file.quarantined if self._file is not None else 0

    @property
    def kept(self) -> int:
        """Batches that would be sent after a restart."""
        return self._file.count if self._file is not None else 0
