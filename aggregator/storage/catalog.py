"""Compare a store's tables and columns with the schema files.

What the files say is not read from their text: they are applied to an empty embedded store in a temporary folder, and
both stores are asked the same two questions. So a difference is one between what two engines hold. Retention (TTL) is
a setting and no difference; engines compare without `Replicated` and `Shared`; for a cluster the expected tables are
those of one engine as `<name>_local`, with a Distributed table of the same columns over each.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aggregator.storage import migrations
from aggregator.storage.client import Store, StoreUrl, query_text
from aggregator.storage.templates import Target

_MEMORY_BYTES = 512 * 1024 * 1024
_VARIANT = re.compile(r"^(Replicated|Shared)(?=\w*MergeTree)")

#: Asks a store one query with bound parameters; rows as column -> value.
Ask = Callable[[str, dict[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Table:
    """One table or view: its engine and keys, and its columns in words, by name."""

    engine: str
    keys: str
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """Tables by name, and the checksums of the files that were applied, by number."""

    tables: dict[str, Table]
    applied: dict[int, str]


def read(ask: Ask, database: str) -> Catalog:
    """The catalog of a store.

    Raises:
        SondeError: the store cannot be asked.
    """
    tables = {}
    for row in ask(query_text("catalog_tables"), {"database": database}):
        keys = f"PARTITION BY {row['partition_key'] or 'nothing'} ORDER BY {row['sorting_key'] or 'nothing'}"
        tables[row["name"]] = Table(_VARIANT.sub("", row["engine"]), keys if "MergeTree" in row["engine"] else "")
    for row in ask(query_text("catalog_columns"), {"database": database}):
        if row["table"] in tables:
            words = (row["type"], row["compression_codec"], row["default_expression"])
            tables[row["table"]].columns[row["name"]] = " ".join(word for word in words if word)
    applied = {}
    if "schema_migrations" in tables:
        for row in ask(query_text("applied_migrations"), {}):
            applied[int(row["number"])] = str(row["checksum"])
    return Catalog(tables, applied)


def of_store(store: Store) -> Catalog:
    """The catalog of an open store; raises StoreError."""

    def ask(query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        return store.named_rows(query, parameters)

    return read(ask, store.url.database)


def expected(target: Target) -> Catalog:
    """What the schema files of this release make, of one engine or a cluster; no other embedded store may be open."""
    with tempfile.TemporaryDirectory(prefix="sonde-schema-") as folder:
        before = tempfile.tempdir
        store = Store(StoreUrl(True, path=f"{folder}/store"), _MEMORY_BYTES)
        try:
            migrations.migrate(store)
            made = of_store(store)
        finally:
            store.close()
            tempfile.tempdir = before
    return Catalog(dict(_for(target, made.tables)), made.applied)


def _for(target: Target, tables: dict[str, Table]) -> Iterator[tuple[str, Table]]:
    for name, table in tables.items():
        if target.cluster and "MergeTree" in table.engine:
            yield target.local(name), table
            yield name, Table("Distributed", "", table.columns)
        else:
            yield name, table


def differences(actual: Catalog, wanted: Catalog) -> list[str]:
    """One line for each difference; none if the store is as the files say."""
    lines = list(_migrations(actual, wanted))
    for name in sorted({*actual.tables, *wanted.tables}):
        have, want = actual.tables.get(name), wanted.tables.get(name)
        if have is None:
            lines.append(f"{name}: missing")
        elif want is None:
            lines.append(f"{name}: not in the schema files")
        else:
            lines.extend(f"{name}: {line}" for line in _of_table(have, want))
    return lines


def _migrations(actual: Catalog, wanted: Catalog) -> Iterator[str]:
    for number in sorted({*actual.applied, *wanted.applied}):
        have, want = actual.applied.get(number), wanted.applied.get(number)
        if have is None:
            yield f"schema file {number:03}: not applied; run `sonde schema apply` or start the aggregator"
        elif want is None:
            yield f"schema file {number:03}: applied by another release"
        elif have != want:
            yield f"schema file {number:03}: changed after it was applied"


def _of_table(have: Table, want: Table) -> Iterator[str]:
    if have.engine != want.engine:
        yield f"engine {have.engine}, the files say {want.engine}"
    if have.keys != want.keys:
        yield f"{have.keys}, the files say {want.keys}"
    for name in sorted({*have.columns, *want.columns}):
        has, wants = have.columns.get(name), want.columns.get(name)
        if has is None:
            yield f"column {name} {wants} is missing"
        elif wants is None:
            yield f"column {name} {has} is not in the schema files"
        elif has != wants:
            yield f"column {name} {has}, the files say {wants}"
