"""Before the embedded engine opens its store: forget tokens of inserts whose rows never got there.

The engine writes an insert's deduplication token into a table's deduplication_logs before it gives the part its name.
A SIGKILL in between leaves a token without rows, and every repeat of that insert would be taken for done: rows lost
without a word. So a token stays only if its part is on the disk, by itself or merged into a larger one.

Invariants: the engine is not running, which the caller has checked; a log is replaced by renaming, whole or not at
all; a line that is no addition is kept. Dropping the token of a part that is gone for another reason (retention)
changes nothing: its block is long forgotten by the journal.

A log's line: operation (1 adds), part (PARTITION_FIRST_LAST_LEVEL), token; tab-separated. See ClickHouse's
MergeTreeDeduplicationLog.cpp and MergeTreeSink.cpp.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_log = logging.getLogger(__name__)

_LOGS = "store/*/*/deduplication_logs/deduplication_log_*.txt"
_PART = re.compile(r"(?P<partition>.+?)_(?P<first>\d+)_(?P<last>\d+)_\d+(?:_\d+)?")
_UNFINISHED = ("tmp_", "delete_tmp_")
_ADDED = "1"

Blocks = dict[str, list[tuple[int, int]]]


def remove(store: Path) -> int:
    """Drop the orphaned tokens of every table in the embedded store at `store`; how many there were.

    Raises:
        OSError: a log cannot be read or replaced.
    """
    removed = 0
    on_disk: dict[Path, Blocks] = {}
    for log in sorted(store.glob(_LOGS)):
        table = log.parent.parent
        if table not in on_disk:
            on_disk[table] = _blocks(entry.name for entry in table.iterdir() if entry.is_dir())
        removed += _clean(log, on_disk[table])
    if removed:
        _log.warning("store: %d inserts were cut short after their token was kept; they can be repeated now", removed)
    return removed


def _blocks(names: Iterable[str]) -> Blocks:
    """First and last block of every part, by partition."""
    blocks: Blocks = defaultdict(list)
    for name in names:
        part = _PART.fullmatch(name)
        if part and not name.startswith(_UNFINISHED):
            blocks[part["partition"]].append((int(part["first"]), int(part["last"])))
    return blocks


def _clean(log: Path, blocks: Blocks) -> int:
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not _is_orphan(line, blocks)]
    if len(kept) < len(lines):
        temporary = log.with_suffix(".sonde")
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(log)
    return len(lines) - len(kept)


def _is_orphan(line: str, blocks: Blocks) -> bool:
    if not line.endswith("\n"):
        return True  # cut short itself
    operation, _, rest = line.partition("\t")
    part = _PART.fullmatch(rest.partition("\t")[0])
    if operation != _ADDED or part is None:
        return False
    number = int(part["first"])
    return not any(first <= number <= last for first, last in blocks.get(part["partition"], ()))
