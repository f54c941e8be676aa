"""What a store says of its schema without being opened or changed.

Of an embedded store, the table schema_migrations (some kB, its parts never change once they are written) is copied to a
temporary folder and read there. A server is only asked.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from aggregator.storage.client import StoreUrl, one_line, query_text
from sonde.errors import StoreError

_TABLE = "schema_migrations"
_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")


def _place(uuid: str) -> Path:
    """Of a table or database in the folder of a store."""
    return Path("store", uuid[:3], uuid)


def applied(url: StoreUrl) -> dict[int, str]:
    """Schema files of the embedded store by number, with their checksums; none if there is no store yet.

    Raises:
        StoreError: it cannot be read.
    """
    store = Path(url.path)
    description = store / "metadata" / f"{url.database}.sql"
    if not description.exists():
        return {}
    database = _uuid(description)
    table = store / _place(database) / f"{_TABLE}.sql"
    if not table.exists():
        return {}
    data = _place(_uuid(table))
    with tempfile.TemporaryDirectory(prefix="sonde-check-") as folder:
        copy = Path(folder)
        try:
            for file in (description, table):
                target = copy / file.relative_to(store)
                target.parent.mkdir(parents=True)
                shutil.copyfile(file, target)
            shutil.copytree(store / data, copy / data)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}; run the check as the aggregator's user") from None
        found = clickhouse_connect.get_client(interface="chdb", path=folder, database=url.database)
        try:
            return dict(found.query(query_text("applied_migrations")).result_rows)
        except ClickHouseError as error:
            raise StoreError(f"{_TABLE} cannot be read: {one_line(error)}") from None
        finally:
            found.close()


def _uuid(description: Path) -> str:
    try:
        match = _UUID.search(description.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{description}: {error.strerror}; run the check as the aggregator's user") from None
    if match is None:
        raise StoreError(f"{description} is not of this engine; is storage.url right?")
    return match[1]


def _ask(url: StoreUrl, sql: str) -> list[tuple[Any, ...]]:
    try:
        found = clickhouse_connect.get_client(
            **dict(url.options), database="default", autogenerate_session_id=False, settings={"readonly": 1}
        )
        try:
            return list(found.query(sql, parameters={"database": url.database, "table": _TABLE}).result_rows)
        finally:
            found.close()
    except ClickHouseError as error:
        raise StoreError(f"the server does not answer ({one_line(error)}); check storage.url") from None


def server_version(url: StoreUrl) -> str:
    """The server's version.

    Raises:
        StoreError: it does not answer.
    """
    return str(_ask(url, "SELECT version()")[0][0])


def applied_at_server(url: StoreUrl) -> dict[int, str]:
    """As `applied`, asked of a server.

    Raises:
        StoreError: it does not answer.
    """
    there = _ask(url, "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = {table:String}")
    if not there:
        return {}
    query = query_text("applied_migrations").replace(_TABLE, "{database:Identifier}.{table:Identifier}")
    return dict(_ask(url, query))
