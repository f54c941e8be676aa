"""Where the figures come from: the SQL endpoint, read through clickhouse-connect's HTTP client.

Invariants: a query and its parameters are asked at most once per `cache_seconds`, whatever the number of tabs
(those that ask meanwhile wait for the same answer); no query outlives `query_seconds`; at most
`query_concurrency` run at once; every failure is a SourceError whose one line says what to do, never a
driver's exception. Nothing is read when nobody looks.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from dashboard import queries
from dashboard.config import DashboardSettings
from sonde.errors import StoreError

Row = dict[str, Any]


class SourceError(StoreError):
    """The SQL endpoint gave no answer; the message is for the person at the page."""


class Result(Protocol):
    """What a client's query gives."""

    column_names: tuple[str, ...]
    result_rows: list[tuple[Any, ...]]


class Client(Protocol):
    """The part of clickhouse-connect's client that is used here."""

    def query(self, query: str, parameters: dict[str, Any]) -> Result:
        """Run one statement with bound parameters."""


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float = 0.0
    rows: list[Row] = field(default_factory=list)


class Source:
    """Named queries with bound parameters, cached for a moment, safe to share between threads."""

    def __init__(self, settings: DashboardSettings, connect: Callable[[], Client] | None = None) -> None:
        self.settings = settings
        self._connect = connect or self._connect_http
        self._client: Client | None = None
        self._connecting = threading.Lock()
        self._running = threading.BoundedSemaphore(settings.query_concurrency)
        self._entries: OrderedDict[tuple[Any, ...], _Entry] = OrderedDict()
        self._entries_lock = threading.Lock()

    def rows(self, name: str, **parameters: Any) -> list[Row]:
        """Rows of queries/`name`.sql, column -> value; do not change them, others read them too.

        `max_rows` and `slow_rows` come from the settings; parameters that the statement does not bind are ignored.

        Raises:
            SourceError: no answer.
        """
        given = {"max_rows": self.settings.max_rows, "slow_rows": self.settings.slow_rows} | parameters
        bound = {key: given[key] for key in queries.parameters(name)}
        entry = self._entry((name, *sorted(bound.items())))
        with entry.lock:
            if time.monotonic() >= entry.until:
                entry.rows = self._ask(name, bound)
                entry.until = time.monotonic() + self.settings.cache_seconds
            return entry.rows

    def _entry(self, key: tuple[Any, ...]) -> _Entry:
        with self._entries_lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self.settings.cache_entries:
                self._entries.popitem(last=False)
            return entry

    def _ask(self, name: str, bound: dict[str, Any]) -> list[Row]:
        if not self._running.acquire(timeout=self.settings.query_seconds):
            raise SourceError("Too many queries wait for the SQL endpoint; close tabs or choose a shorter range.")
        try:
            result = self._connected().query(queries.text(name), parameters=bound)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(self._words(name, error)) from None
        finally:
            self._running.release()
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def _connected(self) -> Client:
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect_http(self) -> Client:
        import clickhouse_connect
        from clickhouse_connect import common

        # A read-only endpoint fixes some settings: ask for what it lets us ask.
        common.set_setting("invalid_setting_action", "drop")
        url = urlsplit(self.settings.sql_url)
        client: Client = clickhouse_connect.get_client(
            host=url.hostname,
            port=url.port or (8443 if url.scheme == "https" else 8123),
            interface=url.scheme,
            username=url.username or self.settings.sql_user,
            password=url.password or self.settings.sql_token.get_secret_value(),
            database=self.settings.database,
            connect_timeout=min(5, self.settings.query_seconds),
            send_receive_timeout=self.settings.query_seconds,
            autogenerate_session_id=False,
            query_retries=0,
            settings={"max_execution_time": self.settings.query_seconds},
        )
        return client

    def _words(self, name: str, error: Exception) -> str:
        text = " ".join(str(error).split())
        where = _without_password(self.settings.sql_url)
        if any(sign in text for sign in ("Connection refused", "Failed to establish", "NameResolution", "unreachable")):
            return (
                f"The SQL endpoint {where} cannot be reached. Start the aggregator (`sonde aggregator`), "
                "or point --sql-url at where it runs."
            )
        if any(sign in text for sign in ("TIMEOUT_EXCEEDED", "timed out", "Timeout")):
            return (
                f"The query {name} took longer than {self.settings.query_seconds} s. Choose a shorter range or a "
                "filter, or raise query_seconds."
            )
        if any(sign in text for sign in ("401", "403", "AUTHENTICATION_FAILED", "REQUIRED_PASSWORD")):
            return f"The SQL endpoint {where} wants a token. Set SONDE_DASHBOARD__SQL_TOKEN and restart the dashboard."
        if any(sign in text for sign in ("UNKNOWN_TABLE", "UNKNOWN_DATABASE", "UNKNOWN_FUNCTION")):
            return (
                f"The store behind {where} lacks a table that the page reads ({text[:160]}). Is its aggregator of the "
                "same version, and is `database` right?"
            )
        return f"The SQL endpoint {where} refused the query {name}: {text[:240]}"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
