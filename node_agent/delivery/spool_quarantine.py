"""Batches that the aggregator refused for good, kept in the spool's file for people to look at.

Invariants: a batch leaves the queue in the transaction in which it comes here; beyond the limit the oldest are removed.
What one holds: zstd of a Batch (proto/sonde.proto), in which statements have no literals.
"""

from __future__ import annotations

import sqlite3

_MESSAGE_CHARACTERS = 1000


def add(sql: sqlite3.Connection, sequence: int, code: str, message: str, now: int, max_bytes: int) -> None:
    """Move a batch here, within the caller's transaction; raises sqlite3.Error."""
    sql.execute(
        "INSERT INTO quarantine (refused_at, code, message, sealed) "
        "SELECT ?, ?, ?, sealed FROM batches WHERE sequence = ?",
        (now, code, message[:_MESSAGE_CHARACTERS], sequence),
    )
    sql.execute("DELETE FROM batches WHERE sequence = ?", (sequence,))
    sql.execute(
        "DELETE FROM quarantine WHERE number IN (SELECT number FROM (SELECT number, sum(length(sealed)) "
        "OVER (ORDER BY number DESC) AS newer FROM quarantine) WHERE newer > ?)",
        (max_bytes,),
    )


def count(sql: sqlite3.Connection) -> int:
    """How many are here; raises sqlite3.Error."""
    return int(sql.execute("SELECT count(*) FROM quarantine").fetchone()[0])
