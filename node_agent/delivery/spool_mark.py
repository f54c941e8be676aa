"""The file beside the spool that says who uses it and which number was given out last.

Invariants:
    - one process holds the lock; the kernel gives it back when that process dies, however it dies
    - a number is written here before the batch that bears it is committed, so before it can be sent
Design: SQLite drops the tail of a damaged write-ahead log without a word, and would then give the same numbers to other
batches. The mark is what the file's own content is compared with. It is written with one small pwrite and synced only
when the spool is opened and closed: it is exact while the same kernel runs (`boot_id`) or after an orderly end
(`clean`), and otherwise not trusted.
On failure: an unreadable mark is no mark; the spool then continues under a new id.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from node_agent.delivery.spool_age import AgeClock
from sonde.errors import SpoolError

_FORMAT = struct.Struct("<8s16s16sQQQQ?Idd")  # magic, then Known in its order
_MAGIC = b"sondemk2"
_DIGEST_BYTES = 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> bytes:
    """16 bytes that are others after each boot; zeros where the kernel does not say."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text(encoding="ascii").strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


@dataclass(frozen=True)
class Known:
    """What the mark says of the spool whose id it bears."""

    spool_id: bytes
    boot: bytes
    last: int  # no number above it was ever sent under this id
    waiting: int  # batches that were neither acknowledged nor dropped, those in memory included
    held: int  # of these in memory
    gone: int  # acknowledged, but not deleted from the file yet
    clean: bool
    pid: int
    moment: float  # the spool's time, see spool_age.py
    steady: float  # and what the clock since boot said then, seconds

    @property
    def same_boot(self) -> bool:
        """Whether the machine runs since then."""
        return self.boot == boot_id() != bytes(16)

    @property
    def exact(self) -> bool:
        """Whether it cannot be older than what it speaks of."""
        return self.clean or self.same_boot


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


class Mark:
    """The lock file of one spool."""

    def __init__(self, path: Path, ages: AgeClock) -> None:
        self._path, self._ages = path, ages
        self._boot = boot_id()
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """Whether this process has the lock."""
        return self._descriptor >= 0

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            SpoolError: another process has it.
            OSError: the file cannot be made.
        """
        if self.held:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            known = self._read(descriptor)
            os.close(descriptor)
            who = f"process {known.pid}" if known else "another process"
            spool = self._path.with_suffix("")
            raise SpoolError(
                f"the spool {spool} is in use by {who}; stop that, or give this agent another with --spool-path"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def read(self) -> Known | None:
        """What was written last; None if nothing was, or it is damaged."""
        return self._read(self._descriptor)

    @staticmethod
    def _read(descriptor: int) -> Known | None:
        raw = os.pread(descriptor, _FORMAT.size + _DIGEST_BYTES, 0)
        body, digest = raw[: _FORMAT.size], raw[_FORMAT.size :]
        if len(raw) != _FORMAT.size + _DIGEST_BYTES or _digest(body) != digest:
            return None
        magic, *fields = _FORMAT.unpack(body)
        return Known(*fields) if magic == _MAGIC else None

    def write(
        self, spool_id: bytes, last: int, waiting: int, held: int, gone: int, clean: bool = False, sync: bool = False
    ) -> None:
        """Replace it, see Known; raises OSError."""
        steady, moment = self._ages.steady(), self._ages.now()
        body = _FORMAT.pack(
            *(_MAGIC, spool_id, self._boot, last, waiting, held, gone, clean, os.getpid()), moment, steady
        )
        os.pwrite(self._descriptor, body + _digest(body), 0)
        if sync:
            os.fsync(self._descriptor)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two processes lock two files of one name."""
        if self.held:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
