"""The spool's SQLite file itself: open or create it, check it, put it aside; what an error says.

Invariants: the file is of mode 0600, and so is its log; a connection that `connect` returns has passed SQLite's own
check and has this layout. A file is put aside by renaming, never removed, but for the oldest of those put aside.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

_LAYOUT = 1  # user_version
_SCHEMA = Path(__file__).with_name("spool.sql")
_LOG_PAGES, _LOG_BYTES = 256, 1 << 20  # the write-ahead log goes into the file after so many, and is cut to this
_KEPT_ASIDE = 3
_SQLITE_ERROR, _SQLITE_FULL = 1, 13


class DamagedError(Exception):
    """The file is not what was written."""


#: Whatever a bad disk, or a file that holds anything, makes SQLite and its reader raise.
FAULTS = (sqlite3.Error, OSError, DamagedError, OverflowError, TypeError, ValueError, MemoryError)


def is_damage(error: Exception) -> bool:
    """Whether the file's content is at fault, not the disk or its permissions."""
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    if isinstance(error, sqlite3.OperationalError):
        text = str(error)
        return getattr(error, "sqlite_errorcode", 0) == _SQLITE_ERROR or text.startswith(("no such", "Could not dec"))
    return isinstance(error, (DamagedError, sqlite3.DatabaseError, OverflowError, TypeError, ValueError))


def is_full(error: Exception) -> bool:
    """Whether the disk has no room, so that what is there can still be read."""
    return isinstance(error, sqlite3.OperationalError) and (
        getattr(error, "sqlite_errorcode", 0) == _SQLITE_FULL or "is full" in str(error)
    )


def connect(path: Path, agent: str) -> sqlite3.Connection:
    """The file at `path`, made for `agent` if there is none; raises any of FAULTS."""
    # Made here and not by SQLite, which would use the umask; the log gets the mode of the file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        fresh = os.fstat(descriptor).st_size == 0
        if fresh:  # the log of a file that is gone
            Path(f"{path}-wal").unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    sql = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        if fresh:
            # On a file with content this writes a page, even if it changes nothing. Behind a log whose tail is damaged
            # that can be the very frame that was damaged, and make the tail valid again.
            sql.execute("PRAGMA auto_vacuum=INCREMENTAL").fetchall()
        for pragma in (
            "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "mmap_size=0",
            f"wal_autocheckpoint={_LOG_PAGES}", f"journal_size_limit={_LOG_BYTES}",
        ):  # fmt: skip
            sql.execute(f"PRAGMA {pragma}").fetchall()
        layout = sql.execute("PRAGMA user_version").fetchone()[0]
        if layout == 0 and not sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(sql, agent)
        _check(sql)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            sql.close()
        raise
    return sql


def _create(sql: sqlite3.Connection, agent: str) -> None:
    sql.executescript(f"BEGIN IMMEDIATE; {_SCHEMA.read_text(encoding='utf-8')} PRAGMA user_version={_LAYOUT};")
    sql.execute("INSERT INTO state VALUES (1, ?, ?, 0)", (agent, os.urandom(16)))
    sql.execute("COMMIT")


def _check(sql: sqlite3.Connection) -> None:
    verdict = sql.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DamagedError(str(verdict))
    layout = sql.execute("PRAGMA user_version").fetchone()[0]
    if layout != _LAYOUT:
        raise DamagedError(f"it has layout {layout}, this agent knows {_LAYOUT}")


@contextlib.contextmanager
def transaction(sql: sqlite3.Connection) -> Iterator[None]:
    """Committed at the end, rolled back on any error."""
    sql.execute("BEGIN IMMEDIATE")
    try:
        yield
        sql.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            sql.execute("ROLLBACK")
        raise


def put_aside(path: Path) -> str:
    """Rename the file and its log; the new name. Raises OSError."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    target = path.with_name(f"{path.name}.aside-{moment}.{time.time_ns() % 10**9:09d}Z")
    for end in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{end}", f"{target}{end}")
    kept = sorted(file for file in path.parent.glob(f"{path.name}.aside-*") if not file.name.endswith("-wal"))
    for old in kept[:-_KEPT_ASIDE]:
        for file in (old, Path(f"{old}-wal")):
            with contextlib.suppress(OSError):
                file.unlink()
    return target.name
