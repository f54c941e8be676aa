"""The aggregator's journal: every block on disk before the first of its inserts, so that a repeat is the same block.

Invariants:
    1. when `append` returns, the block survives SIGKILL and power failure: record and folder entry are synced
    2. `replay` gives every block that was appended and not forgotten, once, in the order of the appends: same id, same
       batches byte for byte, in the same order, with the same other ends
    3. what `append` refused (disk full, I/O error) is not given by `replay`, and nothing that was appended suffers
    4. an unfinished record is removed and never read; a damaged one is set aside, counted, named in the log, and stops
       no other
Design: a file a block, NUMBER-ID.block, written as .tmp and renamed, deleted to forget it. A block is a few MB and
there are a few a second: two syncs each cost less than an insert. A file holds the record twice, each copy with its
length and digest, on pages of its own: a bad page costs nothing. Its content is the batches as they were sealed
(protobuf and zstd, a tenth of the rows in memory) and what was known of the other ends, which would resolve otherwise
at another time.
Acknowledgements are given after the insert, not from here. So a journal that is lost whole loses nothing that was
acknowledged: agents send it again. What is lost with a damaged record is only the knowledge of which block its batches
were in: if the kill fell between two of its inserts, the tables that had it get its rows a second time, which is what
the line in the log says.
Recovery: the caller replays all blocks, with their ids as tokens, before new batches are taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from sonde.errors import JournalError

_log = logging.getLogger(__name__)

_MAGIC = b"sondejn1"
_HEADER = struct.Struct("<8sQ16s")  # magic, length of the record, its digest
_COPIES = 2
_PAGE_BYTES = 4096
_BLOCK, _TEMPORARY, _DAMAGED = ".block", ".tmp", ".damaged"
_DAMAGED_KEPT = 3


def _digest(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=16).digest()


def _copy_at(data: bytes, offset: int) -> bytes | None:
    if offset < 0 or len(data) - offset < _HEADER.size:
        return None
    magic, length, digest = _HEADER.unpack_from(data, offset)
    record = data[offset + _HEADER.size : offset + _HEADER.size + length]
    return record if magic == _MAGIC and len(record) == length and _digest(record) == digest else None


def unpack(data: bytes) -> bytes | None:
    """The record in a file's bytes; None if both copies are damaged."""
    first = _copy_at(data, 0)
    return first if first is not None else _copy_at(data, len(data) // _COPIES)


def pack(record: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, record and what fills its last page; a file holds them twice, so that no page is part of both."""
    rest = -(_HEADER.size + len(record)) % _PAGE_BYTES
    return _HEADER.pack(_MAGIC, len(record), _digest(record)), record, bytes(rest)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


class Journal:
    """A folder of blocks. `append` and `forget` are safe from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open or create it, and remove unfinished records.

        Raises:
            JournalError: it cannot be used, or another process uses it.
        """
        self.folder = folder
        self.set_aside = 0
        self._number = 0
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise JournalError(f"journal {folder}: {_why(error)}; check the folder or storage.journal") from None
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in folder.glob(f"*{_TEMPORARY}"):
                leftover.unlink()
            found = sorted(folder.glob(f"*{_BLOCK}"))
        except OSError as error:
            os.close(self._directory)
            busy = error.errno == errno.EWOULDBLOCK
            hint = "is another aggregator running on it?" if busy else "check the folder or storage.journal"
            raise JournalError(f"journal {folder}: {_why(error)}; {hint}") from None
        for path in found:
            number, _, identity = path.stem.partition("-")
            self._files[identity] = path
            if number.isdecimal():
                self._number = max(self._number, int(number))

    def __len__(self) -> int:
        return len(self._files)

    def replay(self) -> Iterator[tuple[str, bytes]]:
        """Id and record of every block, oldest first; damaged ones are set aside."""
        for identity, path in list(self._files.items()):
            try:
                record = unpack(path.read_bytes())
                what = "is damaged"
            except OSError as error:
                record, what = None, f"cannot be read ({_why(error)})"
            if record is None:
                self.put_aside(identity, what)
            else:
                yield identity, record

    def put_aside(self, identity: str, what: str) -> None:
        """Take a block that cannot be replayed out of the way; `what` is wrong with it."""
        path = self._files.pop(identity)
        self.set_aside += 1
        aside = path.with_suffix(_DAMAGED)
        with contextlib.suppress(OSError):
            path.rename(aside)
            for old in sorted(self.folder.glob(f"*{_DAMAGED}"))[:-_DAMAGED_KEPT]:
                old.unlink()
        _log.error(
            "journal: %s %s; kept as %s. Nothing acknowledged is lost, agents send its batches again; where the last "
            "stop cut its inserts short, those tables get its rows twice",
            path.name, what, aside.name,
        )  # fmt: skip

    def append(self, identity: str, record: bytes) -> None:
        """The block is durable when this returns.

        Raises:
            JournalError: it is not, and will not be replayed.
        """
        with self._lock:
            self._number += 1
            path = self.folder / f"{self._number:016d}-{identity}{_BLOCK}"
        temporary = path.with_suffix(_TEMPORARY)
        try:
            self._write(temporary, pack(record) * _COPIES)
            temporary.rename(path)
            os.fsync(self._directory)
        except OSError as error:
            try:
                temporary.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            except OSError:
                if path.exists():
                    # It may be replayed, so it has to be inserted under this id: it counts as written.
                    self._files[identity] = path
                    return
            raise JournalError(f"journal {self.folder}: {_why(error)}; free space or check the disk") from None
        self._files[identity] = path

    @staticmethod
    def _write(path: Path, pieces: tuple[bytes, ...]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget(self, identity: str) -> None:
        """The block is in the store and in the ledger. If the file stays, a replay finds it in the ledger."""
        path = self._files.pop(identity)
        try:
            path.unlink()
        except OSError as error:
            _log.warning("journal: %s stays: %s; the next start finds it in the ledger", path.name, _why(error))

    def close(self) -> None:
        """Release the folder."""
        os.close(self._directory)
