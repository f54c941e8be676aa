"""One way to the store, embedded or remote, over clickhouse-connect.

Invariants: one process holds an embedded store; every thread has a client of its own, since a client serialises its
calls; every setting that decides whether a repeated insert is stored again is sent explicitly, as defaults changed
between releases of ClickHouse. An insert returns after its rows are in parts on disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

# The embedded engine takes its server time zone from the process; times are UTC everywhere in Sonde.
os.environ["TZ"] = "UTC"

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from aggregator.config import Cluster
from aggregator.storage import orphaned_tokens
from aggregator.storage.templates import DATABASE, Target, render
from sonde.errors import StoreError, UsageError

#: One block per insert and table, whatever its size, so that a token always means the same block.
_BLOCK_ROWS, _BLOCK_BYTES = 16_777_216, 4_294_967_296

INSERT_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": _BLOCK_ROWS,
    "max_partitions_per_insert_block": 0,
    "min_insert_block_size_rows": _BLOCK_ROWS,
    "min_insert_block_size_bytes": _BLOCK_BYTES,
    "input_format_parallel_parsing": 0,
    "optimize_on_insert": 0,
    "parallel_view_processing": 0,
    "materialized_views_ignore_errors": 0,
}

#: For every statement to a cluster: it is done when every shard has it, and a table of one shard may ask all of them.
_CLUSTER_SETTINGS: dict[str, Any] = {"distributed_foreground_insert": 1, "distributed_product_mode": "global"}

#: The same for settings that older servers do not know. `deduplicate_insert` overrides `insert_deduplicate` (26.x).
NEWER_SETTINGS: dict[str, Any] = {"deduplicate_insert": "enable"}


@dataclass(frozen=True)
class StoreUrl:
    """A parsed `storage.url`."""

    embedded: bool
    path: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    database: str = DATABASE


def parse(url: str) -> StoreUrl:
    """What `storage.url` says.

    Raises:
        UsageError: it is neither chdb:///absolute/path nor clickhouse://user:pass@host:port/database.
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
            raise UsageError(f"storage.url {url}: the path must be absolute, as in chdb:///var/lib/sonde/store")
        return StoreUrl(True, path=unquote(parts.path))
    if parts.scheme == "clickhouse" and parts.hostname:
        query = dict(parse_qsl(parts.query))
        secure = query.pop("secure", "false").lower() in ("1", "true", "yes")
        if query:
            raise UsageError(f"storage.url: unknown option {sorted(query)[0]}; only secure=true|false is known")
        options: dict[str, Any] = {"host": parts.hostname, "secure": secure}
        options["port"] = parts.port or (8443 if secure else 8123)
        if parts.username:
            options["username"] = unquote(parts.username)
            options["password"] = unquote(parts.password or "")
        return StoreUrl(False, options=tuple(options.items()), database=parts.path.strip("/") or DATABASE)
    raise UsageError(
        "storage.url: use chdb:///var/lib/sonde/store or clickhouse://user:password@host:8443/sonde?secure=true"
    )


def query_text(name: str) -> str:
    """The text of aggregator/storage/queries/<name>.sql."""
    return resources.files("aggregator.storage.queries").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def one_line(error: BaseException) -> str:
    """An engine's error as one line."""
    return " ".join(str(error).split())[:600]


def check_unlocked(path: str) -> None:
    """Say who holds the embedded store at `path`; the engine's own words for it are many and go to standard error.

    Raises:
        StoreError: another process holds it.
    """
    status = Path(path, "status")
    if not status.exists():
        return
    with status.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = re.search(rb"PID: (\d+)", file.read())
            who = f"process {int(owner[1])}" if owner else "another process"
            raise StoreError(
                f"store {path} is held by {who}; stop that aggregator, or ask it over its SQL port"
            ) from None


def cluster_insert_settings(cluster: Cluster) -> dict[str, Any]:
    """Settings of an insert into a cluster beyond INSERT_SETTINGS: it returns when `insert_quorum` replicas have it.

    Quorum inserts run in parallel: without that, two aggregators that write one table at a time refuse each other.
    """
    if not cluster.name:
        return {}
    return {
        **_CLUSTER_SETTINGS,
        "insert_quorum": cluster.insert_quorum,
        "insert_quorum_parallel": 1,
        "insert_quorum_timeout": int(cluster.insert_timeout_s * 1000),
    }


_ONE_SERVER = Cluster()


class Store:
    """An open store; clients of it are made per thread."""

    def __init__(self, url: StoreUrl, memory_bytes: int, cluster: Cluster = _ONE_SERVER) -> None:
        """Open it; `cluster` says how a cluster behind a clickhouse:// URL is written.

        Raises:
            StoreError: another process holds the path, or the server is not reachable.
        """
        if url.embedded and cluster.name:
            raise UsageError("storage.cluster.name is for clickhouse://; the embedded engine is one process")
        self.url = url
        self.target = Target(cluster.name, url.database)
        self._insert_settings = INSERT_SETTINGS | cluster_insert_settings(cluster)
        self._memory_bytes = memory_bytes
        self._local = threading.local()
        self._clients: list[Any] = []
        self._lock = threading.Lock()
        #: Told of every insert that returned: table and rows.
        self.inserted: Callable[[str, pa.Table], object] = lambda _table, _rows: None
        if url.embedded:
            self._prepare_folders()
        client = self._connect(None)
        try:
            create = render(query_text("create_database"), self.target)
            client.command(create, parameters={"database": url.database})
        except ClickHouseError as error:
            raise StoreError(f"store: {one_line(error)}") from None
        finally:
            client.close()

    def _prepare_folders(self) -> None:
        """The store and, beside it, the folder of files on their way into the engine; leftovers of a kill go."""
        incoming = Path(self.url.path + ".incoming")
        try:
            Path(self.url.path).mkdir(parents=True, exist_ok=True, mode=0o750)
            incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_unlocked(self.url.path)
            orphaned_tokens.remove(Path(self.url.path))
            for leftover in incoming.iterdir():
                leftover.unlink()
        except OSError as error:
            raise StoreError(f"store {self.url.path}: {error.strerror}; check the folder or storage.url") from None
        tempfile.tempdir = str(incoming)

    @property
    def connection_string(self) -> str:
        """How further handles of the embedded engine open the same store."""
        return f"{os.path.realpath(self.url.path)}?max_server_memory_usage={self._memory_bytes}"

    def _connect(self, database: str | None) -> Any:
        try:
            if self.url.embedded:
                return clickhouse_connect.get_client(
                    interface="chdb",
                    path=self.url.path,
                    database=database,
                    chdb_options={"max_server_memory_usage": str(self._memory_bytes)},
                )
            return clickhouse_connect.get_client(
                **dict(self.url.options),
                database=database or "default",
                autogenerate_session_id=False,
                settings=_CLUSTER_SETTINGS if self.target.cluster else None,
            )
        except ClickHouseError as error:
            hint = "is another aggregator running on it?" if self.url.embedded else "check storage.url"
            raise StoreError(f"store cannot be opened ({one_line(error)}); {hint}") from None

    def client(self) -> Any:
        """The calling thread's client, with the database selected."""
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._connect(self.url.database)
            self._local.client = client
            with self._lock:
                self._clients.append(client)
        return client

    def command(self, sql: str, parameters: dict[str, Any] | None = None) -> None:
        """Run one statement without a result.

        Raises:
            StoreError: the engine refused it.
        """
        try:
            self.client().command(sql, parameters=parameters)
        except ClickHouseError as error:
            raise StoreError(f"store: {one_line(error)}") from None

    def template(self, sql: str, parameters: dict[str, Any] | None = None) -> None:
        """Run one statement of a file with placeholders (templates.py); one that is only for clusters is left out.

        Raises:
            StoreError: the engine refused it.
        """
        if rendered := render(sql, self.target):
            self.command(rendered, parameters)

    def rows(self, name: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of the query in queries/<name>.sql.

        Raises:
            StoreError: the engine refused it.
        """
        try:
            return list(self.client().query(query_text(name), parameters=parameters).result_rows)
        except ClickHouseError as error:
            raise StoreError(f"store: {one_line(error)}") from None

    def named_rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of `sql`, column -> value.

        Raises:
            StoreError: the engine refused it.
        """
        try:
            return list(self.client().query(sql, parameters=parameters).named_results())
        except ClickHouseError as error:
            raise StoreError(f"store: {one_line(error)}") from None

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert once per `token`; the rows are in the store when this returns.

        Raises:
            StoreError: they may or may not be in the store; insert again with the same token.
        """
        client = self.client()
        settings = {**self._insert_settings, "insert_deduplication_token": token}
        settings |= {name: value for name, value in NEWER_SETTINGS.items() if name in client.server_settings}
        try:
            if self.url.embedded:
                self._insert_file(client, table, rows, settings)
            else:
                client.insert_arrow(table, rows, settings=settings)
        except ClickHouseError as error:
            raise StoreError(f"insert into {table}: {one_line(error)}") from None
        except OSError as error:
            raise StoreError(f"insert into {table}: {error.strerror or error}; free space or check the disk") from None
        self.inserted(table, rows)

    def _insert_file(self, client: Any, table: str, rows: pa.Table, settings: dict[str, Any]) -> None:
        """As insert_arrow does, without its two copies of the rows: the embedded engine reads inserts from a file."""
        columns = ", ".join(f"`{name}`" for name in rows.column_names)
        said = ", ".join(f"{name} = {_quoted(str(value))}" for name, value in settings.items())
        with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
            with pa.OSFile(file.name, "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows)
            client.command(
                f"INSERT INTO {table} ({columns}) FROM INFILE {_quoted(file.name)} SETTINGS {said} FORMAT Arrow"
            )

    def close(self) -> None:
        """Close every client; the embedded store can then be opened by another process."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        if self.url.embedded and tempfile.tempdir == str(Path(self.url.path + ".incoming")):
            tempfile.tempdir = None  # the system's again
