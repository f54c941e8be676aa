"""The spool's SQLite file: append, read in order, forget, quarantine, recover.

Invariants:
    - a transaction is on the disk (write-ahead log, synchronous=FULL) when `append` returns; one transaction a batch
    - a row is handed out only if its digest, keyed with its number, fits; a damaged one is dropped and counted
    - numbers of one id only grow, over restarts, crashes and lost tails of the log (spool_mark.py says how)
    - acknowledged rows are deleted with the next append: a crash in between only sends them again, as the same bytes
Design: the connection is exclusive, so SQLite keeps the index of its log on the heap; a mapped one would end the
process with SIGBUS on a bad disk. Deleted pages go back to the file system a few at a time.
Recovery: `open` checks the whole file. A file that is damaged, of another agent or of another layout is renamed to
NAME.aside-TIME (the newest three are kept) and a new one with a new id begun; what it held is counted as lost. Any
method may raise sqlite3.Error, OSError or DamagedError: spool.py decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from node_agent.delivery import spool_quarantine as quarantine
from node_agent.delivery import spool_sqlite
from node_agent.delivery.spool_age import AgeClock
from node_agent.delivery.spool_mark import Known, Mark
from node_agent.delivery.spool_sqlite import FAULTS, DamagedError, is_damage, transaction
from proto import sonde_pb2 as pb

_log = logging.getLogger("sonde.agent.delivery")

_FREE_PAGES, _PAGES_A_TIME = 1024, 256  # unused pages that stay in the file; given back in one transaction
_GONE_AT_ONCE = 256  # acknowledgements that wait for an append, at most
_HIGHEST = 1 << 62  # a higher number was not made by counting


def _digest(sequence: int, sealed: bytes) -> bytes:
    return hashlib.blake2b(sealed, digest_size=8, key=sequence.to_bytes(8, "little")).digest()


class SpoolFile:
    """Not thread-safe by itself. Nothing is touched before `open`."""

    def __init__(self, path: Path, agent: str, quarantine_bytes: int, ages: AgeClock) -> None:
        self.path, self._agent, self._quarantine_bytes, self._ages = path, agent, quarantine_bytes, ages
        self._mark = Mark(path.with_name(f"{path.name}.lock"), ages)
        self._sql: sqlite3.Connection | None = None
        self._gone: set[int] = set()  # forgotten, not deleted yet
        self._late: set[int] = set()  # see forget_late
        self._opened = False
        self._held = 0  # batches that wait in memory
        self._inode = 0
        self._committed = 0  # the highest number that was on disk when it was opened
        self._rows = 0
        self._in_doubt = 0, 0  # the last number and the drops of a commit whose end is not known
        self.id = b""
        self.last = 0  # the highest number given out, committed or not
        self.bytes = 0  # of batches that wait here
        self.quarantined = 0
        self.damaged = 0  # rows that were dropped because their digest did not fit
        self.set_aside = 0

    @property
    def count(self) -> int:
        """Batches that wait here."""
        return self._rows - len(self._gone)

    @property
    def is_open(self) -> bool:
        """Whether what waits here can be read."""
        return self._sql is not None

    # Opening and recovery

    def open(self, held: int = 0) -> int:
        """Lock, check, recover; how many batches are lost. `held` wait in memory.

        Raises:
            SpoolError: another process has it.
            OSError, sqlite3.Error: the disk refuses.
        """
        if not self._mark.held:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mark.acquire()
        self.disconnect()
        known = self._mark.read()
        if known is not None and not self._opened:
            self._ages.resume(known.moment, known.steady if known.same_boot else None)
        self._opened = True
        aside = False
        ours = held if self.id else 0  # what the mark of an earlier process counts is not in this one's memory
        try:
            self._connect(known)
        except FAULTS as error:
            self.disconnect()
            if not is_damage(error):
                raise
            self._put_aside(error)
            aside = True
            self._connect(known)
        self._held = held
        lost = max(self._lost(known, aside) - ours, 0) if known is not None else 0
        last, dropped = self._in_doubt
        if dropped and self._committed >= last and not aside:
            lost += dropped  # by a commit that failed and yet reached the disk
        self._in_doubt = 0, 0
        self._write_mark(sync=True)
        return lost

    def _lost(self, known: Known, aside: bool) -> int:
        """Batches that the mark knows and that are not here, those in memory then included."""
        if aside:
            return known.waiting - self.count
        if not known.exact:
            return 0
        rows = known.waiting - known.held + known.gone
        if self._committed >= known.last:  # nothing is missing; more rows than known came from memory just before
            return known.held - max(self._rows - rows, 0)
        # Those that are missing may have been acknowledged, and only not deleted yet.
        return min(known.held + rows - self._rows, known.waiting)

    def begin_anew(self, error: Exception) -> int:
        """Put a file aside that turned out to be damaged and begin a new one; how many batches are lost."""
        with contextlib.suppress(OSError):
            self._write_mark()
        self.disconnect()
        self._put_aside(error)
        self._gone.clear()
        return self.open(self._held)

    def _connect(self, known: Known | None) -> None:
        self._sql = spool_sqlite.connect(self.path, self._agent)
        self._inode = self.path.stat().st_ino
        self._load(self._sql, known)

    def _load(self, sql: sqlite3.Connection, known: Known | None) -> None:
        row = sql.execute("SELECT agent, spool_id, last FROM state WHERE one = 1").fetchone()
        if row is None or not (isinstance(row[1], bytes) and len(row[1]) == 16 and isinstance(row[2], int)):
            raise DamagedError("its state is not readable")
        if row[0] != self._agent:
            raise DamagedError(f"it is the spool of {row[0]!r}, not of {self._agent!r}")
        totals = "SELECT count(*), total(length(sealed)), min(sequence), max(sequence) FROM batches"
        rows, size, lowest, highest = sql.execute(totals).fetchone()
        last = max(row[2], highest or 0)
        if not (row[2] >= 0 and last < _HIGHEST and (lowest is None or lowest > 0)):
            raise DamagedError("its numbers are out of range")
        spool_id = row[1]
        if known is not None and known.spool_id == spool_id and known.exact:
            last = max(last, known.last)
        else:
            # What was given out after the last row on disk is not known: other batches get another id.
            spool_id = os.urandom(16)
            sql.execute("UPDATE state SET spool_id = ?", (spool_id,))
            if rows or row[2]:
                _log.info("the spool %s goes on under a new id: its end may be missing", self.path)
        self._rows, self.bytes, self._committed = rows, int(size), row[2]
        self.id, self.last = spool_id, max(last, self.last)
        self._gone = {sequence for sequence in self._gone | self._late if self._size(sequence) is not None}
        self._late.clear()
        self.bytes -= sum(self._size(sequence) or 0 for sequence in self._gone)
        self.quarantined = quarantine.count(sql)

    def _put_aside(self, error: Exception) -> None:
        name = spool_sqlite.put_aside(self.path)
        self.set_aside += 1
        _log.error("the spool %s cannot be used (%s): set aside as %s, a new one begun", self.path, error, name)

    # What is written

    def reserve(self, sequence: int) -> None:
        """Note that `sequence` is given out under this id; raises OSError or DamagedError, and then it is not."""
        if self._inode != self._inode_on_disk():
            raise DamagedError("somebody deleted or replaced it")
        before, self.last = self.last, sequence
        try:
            self._write_mark(1)
        except OSError:
            self.last = before
            raise

    def append(self, batches: Sequence[tuple[pb.SealedBatch, int]], max_bytes: int, sealed_since: float) -> int:
        """Commit batches with the seconds at which they were sealed (spool_age.py); how many old ones were dropped.

        Deletes what was forgotten. Beyond `max_bytes`, or sealed before `sealed_since`, the oldest are dropped, but
        never the newest of all.
        """
        sql = self._open_sql()
        rows, size = self.count, self.bytes
        doomed: list[tuple[int]] = []
        with transaction(sql):
            sql.executemany("DELETE FROM batches WHERE sequence = ?", [(sequence,) for sequence in self._gone])
            for batch, sealed_at in batches:
                sealed = batch.SerializeToString()
                row = (batch.sequence, sealed_at, _digest(batch.sequence, sealed), sealed)
                new = sql.execute("INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?)", row).rowcount
                rows, size = rows + new, size + new * len(sealed)
            sql.execute("UPDATE state SET last = max(last, ?)", (self.last,))
            oldest = "SELECT sequence, sealed_at, length(sealed) FROM batches ORDER BY sequence"
            with contextlib.closing(sql.execute(oldest)) as cursor:
                for sequence, sealed_at, length in cursor:
                    if rows - len(doomed) <= 1 or (size <= max_bytes and sealed_at >= sealed_since):
                        break
                    doomed.append((sequence,))
                    size -= length
            sql.executemany("DELETE FROM batches WHERE sequence = ?", doomed)
            moved = {batch.sequence for batch, _ in batches}  # these stay in memory if the commit fails
            self._in_doubt = self.last, sum(sequence not in moved for (sequence,) in doomed)
        self._in_doubt = 0, 0
        self._rows, self.bytes = rows - len(doomed), size
        self._gone.clear()
        with contextlib.suppress(sqlite3.OperationalError):  # the batches are safe; pages are given back some time
            if sql.execute("PRAGMA freelist_count").fetchone()[0] > _FREE_PAGES:
                # As a script: `execute` takes one step of this statement, and so frees one page.
                sql.executescript(f"PRAGMA incremental_vacuum({_PAGES_A_TIME})")
        return len(doomed)

    def flush(self) -> None:
        """Delete what was forgotten; on a full disk this is what makes room."""
        if self._gone:
            self.append((), 1 << 62, 0)

    def make_room(self) -> None:
        """Before another attempt on a full disk: delete what was forgotten, write the log into the file.

        Both need some room themselves. Where there is none, a file in which nothing waits is removed for a new one.
        """
        try:
            self.flush()
            self._open_sql().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            if self.count:
                raise
            self.disconnect()
            for end in ("", "-wal"):
                Path(f"{self.path}{end}").unlink(missing_ok=True)
            self._gone.clear()
            self.open(self._held)

    def note(self, held: int) -> None:
        """Say how many batches wait in memory, so that a restart counts them; as well as it goes."""
        self._held = held
        if self._mark.held and self.id:
            with contextlib.suppress(OSError):
                self._write_mark()

    def renew(self) -> None:
        """Go on under a new id."""
        spool_id = os.urandom(16)
        self._open_sql().execute("UPDATE state SET spool_id = ?", (spool_id,))
        self.id = spool_id
        self._write_mark()

    def quarantine(self, sequence: int, code: str, message: str, now: int) -> bool:
        """Move a batch out of the way for good, the oldest of the quarantine out of it; whether it was here."""
        sql = self._open_sql()
        size = None if sequence in self._gone else self._size(sequence)
        if size is None:
            return False
        with transaction(sql):
            quarantine.add(sql, sequence, code, message, now, self._quarantine_bytes)
        self._rows, self.bytes = self._rows - 1, self.bytes - size
        self.quarantined = quarantine.count(sql)
        self.note(self._held)
        return True

    # What is read

    def after(self, sequence: int) -> pb.SealedBatch | None:
        """The oldest sound batch with a higher number."""
        sql = self._sql
        if sql is None or not self.count:
            return None
        following = "SELECT sequence, digest, sealed FROM batches WHERE sequence > ? ORDER BY sequence LIMIT 1"
        while (row := sql.execute(following, (sequence,)).fetchone()) is not None:
            sequence, digest, sealed = row
            if sequence in self._gone:
                continue
            batch = _sound(sequence, digest, sealed)
            if batch is not None:
                return batch
            _log.error("batch %d of the spool %s is damaged: dropped", sequence, self.path)
            self.damaged += 1
            self.forget(sequence)
            with contextlib.suppress(sqlite3.OperationalError, OSError):
                self.flush()  # not found, and counted, again after a kill
        return None

    def oldest_at(self) -> float | None:
        """When the oldest batch that waits here was sealed, seconds of the spool's time."""
        if self._sql is None:
            return None
        with contextlib.closing(self._sql.execute("SELECT sequence, sealed_at FROM batches ORDER BY sequence")) as rows:
            return next((sealed_at for sequence, sealed_at in rows if sequence not in self._gone), None)

    def has(self, sequence: int) -> bool:
        """Whether a batch waits here."""
        return sequence not in self._gone and self._size(sequence) is not None

    def forget(self, sequence: int) -> bool:
        """Delete a batch soon; whether it was here."""
        if self._sql is None or sequence in self._gone or (size := self._size(sequence)) is None:
            return False
        self._gone.add(sequence)
        self.bytes -= size
        self.note(self._held)
        return True

    def forget_late(self, numbers: Iterable[int]) -> None:
        """While the disk fails: batches are gone from memory whose failed commit may yet turn up here."""
        self._late.update(numbers)

    @property
    def crowded(self) -> bool:
        """Whether so much was forgotten that `flush` should be called."""
        return len(self._gone) >= _GONE_AT_ONCE

    def _size(self, sequence: int) -> int | None:
        row = self._open_sql().execute("SELECT length(sealed) FROM batches WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else int(row[0] or 0)

    # Closing

    def close(self) -> None:
        """An orderly end: the log is written into the file, the mark says that it is exact."""
        try:
            if self._sql is not None:
                self.flush()
                self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.disconnect()
                if self._mark.held:
                    self._write_mark(clean=True, sync=True)
        finally:
            self.disconnect()
            self._mark.release()

    def disconnect(self) -> None:
        """Close the file and keep the lock; what waits here is out of reach until `open`."""
        sql, self._sql = self._sql, None
        if sql is not None:
            with contextlib.suppress(sqlite3.Error):
                sql.close()

    def _inode_on_disk(self) -> int:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return -1

    def _open_sql(self) -> sqlite3.Connection:
        if self._sql is None:
            raise sqlite3.OperationalError("the spool is not open")
        return self._sql

    def _write_mark(self, more: int = 0, clean: bool = False, sync: bool = False) -> None:
        waiting = self.count + self._held + more
        self._mark.write(self.id, self.last, waiting, self._held, len(self._gone), clean, sync)


def _sound(sequence: object, digest: object, sealed: object) -> pb.SealedBatch | None:
    if not (isinstance(sequence, int) and isinstance(sealed, bytes) and digest == _digest(sequence, sealed)):
        return None
    try:
        return pb.SealedBatch.FromString(sealed)
    except DecodeError:
        return None
