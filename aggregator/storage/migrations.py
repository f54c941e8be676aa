"""Bring a store to the current schema: schema/NNN_name.sql, in order, each recorded in schema_migrations.

Invariants: every statement says IF NOT EXISTS or an equivalent, so a migration that was cut short is simply run again,
and two aggregators of one cluster may migrate at the same time; a file that was applied is never edited (add the next
number instead), which a checksum tells. The files are templates (templates.py); the checksum is of the template.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from aggregator.config import Retention
from aggregator.storage.client import Store, query_text
from aggregator.storage.templates import Target, render
from sonde import logs

_log = logs.get(__name__)

_FILE = re.compile(r"(\d{3})_\w+\.sql")

#: Column that the age of a row is counted from.
AGE_COLUMN = {
    "requests": "start",
    "statement_texts": "last_seen",
    "host_reports": "last_seen",
    "endpoint_reports": "last_seen",
}


@dataclass(frozen=True)
class Migration:
    """One numbered file; `statements` are templates."""

    number: int
    name: str
    statements: tuple[str, ...]
    checksum: str

    def rendered(self, target: Target) -> tuple[str, ...]:
        """The statements for one engine or a cluster."""
        return tuple(text for one in self.statements if (text := render(one, target)))


def split(text: str) -> tuple[str, ...]:
    """Statements of a schema file: comments stand on lines of their own, a statement ends with `;` at a line's end."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return tuple(part.strip() for part in re.split(r";\s*\n", "\n".join(lines) + "\n") if part.strip())


def migrations() -> list[Migration]:
    """Every schema file, by number."""
    found = []
    for entry in resources.files("aggregator.storage.schema").iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            text = entry.read_text(encoding="utf-8")
            digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
            found.append(Migration(int(match[1]), entry.name, split(text), digest))
    return sorted(found, key=lambda migration: migration.number)


def migrate(store: Store) -> int:
    """Apply what is missing; the number of files applied.

    Raises:
        StoreError: a statement failed; the next start goes on with the same file.
    """
    for statement in split(query_text("create_migrations")):
        store.template(statement)
    applied = dict(store.rows("applied_migrations"))
    done = 0
    for migration in migrations():
        if migration.number in applied:
            if applied[migration.number] != migration.checksum:
                _log.warning("a schema file changed after it was applied; the store keeps the old", file=migration.name)
            continue
        for statement in migration.rendered(store.target):
            store.command(statement)
        store.command(
            query_text("record_migration"),
            {"number": migration.number, "name": migration.name, "checksum": migration.checksum},
        )
        done += 1
    return done


def set_retention(store: Store, retention: Retention) -> None:
    """Make each table keep its rows as many days as the settings say.

    Raises:
        StoreError: the engine refused a change.
    """
    current = dict(store.rows("retention"))
    for table, days in retention.model_dump().items():
        local = store.target.local(table)
        if current.get(local) != days:
            column = AGE_COLUMN.get(table, "time")
            store.template(query_text("set_retention"), {"table": local, "column": column, "days": days})
