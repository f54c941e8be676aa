"""Run checked queries on the embedded engine, each on a handle of its own that is readonly before it sees the query.

Invariants: at most sql.max_concurrent queries run; each has its own memory, time, thread and result limits, whose sum
leaves the inserts their share (config.py checks that); no handle is ever used for two queries, so no setting leaks.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import chdb

from aggregator.config import Sql
from aggregator.storage import sql_tenant
from aggregator.storage.client import Store, query_text
from aggregator.storage.sql_guard import Guard, Query, SqlRefused
from aggregator.storage.sql_settings import effective
from aggregator.storage.templates import DATABASE

_CODE = re.compile(r"Code: (\d+)")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TOO_MANY = 202
#: ClickHouse's HTTP status for its error codes; 500 for all others.
_STATUS = {36: 400, 41: 400, 42: 400, 43: 400, 46: 404, 47: 400, 53: 400, 60: 404, 62: 400, 81: 404, 159: 408,
           164: 403, 241: 500, 396: 500, 446: 403, 452: 403, 456: 400, 457: 400}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Bytes of a result and what the engine read for it."""

    body: bytes
    rows_read: int
    bytes_read: int
    seconds: float


class Engine:
    """The embedded engine, for reading."""

    def __init__(self, store: Store, limits: Sql) -> None:
        self._path = store.connection_string
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.max_concurrent)
        handle = chdb.connect(self._path)
        try:
            names = handle.query("SELECT name FROM system.table_functions", "TabSeparated").bytes().decode().split()
            self.version = handle.query("SELECT version()", "TabSeparated").bytes().decode().strip()
        finally:
            handle.close()
        self.guard = Guard(names)

    def run(
        self,
        query: Query,
        form: str,
        database: str,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        tenant: str = "",
    ) -> Result:
        """Result of `query` in format `form` (unless it names its own), of the rows of `tenant` ('': all).

        Raises:
            SqlRefused: the engine refused it, it hit a limit, or too many run.
        """
        allowed = effective(settings, self._limits)
        if not _IDENTIFIER.fullmatch(database) or not _IDENTIFIER.fullmatch(form):
            raise SqlRefused(36, "BAD_ARGUMENTS", "A database or format is a plain name", 400)
        if tenant:
            sql_tenant.check(query.tokens, database, DATABASE)
        if not self._slots.acquire(timeout=self._limits.max_queue_s):
            raise SqlRefused(_TOO_MANY, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many queries run; try again", 503)
        try:
            return self._run(query, form, database, allowed, parameters, tenant)
        finally:
            self._slots.release()

    def _run(
        self,
        query: Query,
        form: str,
        database: str,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        tenant: str,
    ) -> Result:
        handle = chdb.connect(self._path)
        try:
            handle.query(f"USE {database}", "TabSeparated")
            if tenant:
                settings = {**settings, **sql_tenant.settings(tenant, lambda name: _rows(handle, name))}
            # Names and values passed the allow-list; the values hold no quote that this does not escape.
            quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in settings.items()}
            handle.query("SET " + ", ".join(f"{name} = '{value}'" for name, value in quoted.items()), "TabSeparated")
            handle.query("SET readonly = 1", "TabSeparated")
            result = handle.query(query.text, form, params=dict(parameters))
            if tenant:
                return Result(bytes(result.bytes()), 0, 0, result.elapsed())  # others' rows are read as well
            return Result(
                bytes(result.bytes()),
                int(result.storage_rows_read()),
                int(result.storage_bytes_read()),
                result.elapsed(),
            )
        except RuntimeError as error:
            raise _refusal(str(error)) from None
        finally:
            handle.close()


def _rows(handle: Any, name: str) -> list[tuple[object, ...]]:
    lines = handle.query(query_text(name), "JSONCompactEachRow").bytes().decode().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def _refusal(message: str) -> SqlRefused:
    text = " ".join(message[max(message.find("Code: "), 0) :].split())
    match = _CODE.search(text)
    code = int(match[1]) if match else 1001
    refused = SqlRefused(code, "", "", _STATUS.get(code, 500))
    refused.args = (text,)
    return refused
