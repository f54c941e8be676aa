"""One text for one engine and for a cluster: the placeholders of schema and access files.

| placeholder | one engine | cluster `c` |
|---|---|---|
| `@on_cluster` | nothing | `ON CLUSTER 'c'` |
| `@local(t)` | `t` | `t_local`, the table of one shard |
| `@replicated(MergeTree)` | `MergeTree` | `ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')` |
| `@database` | the database's name | the same |
| `@name(n)` | the text given as `n` | the same |
| `@deduplicated` | the window of a plain table | the window of a replicated one |
| `@system(parts)` | `system.parts` | the same of all shards, one replica each |
| `@distributed(t, key);` | nothing | table `t` over all shards' `t_local`, rows placed by a hash of `key` |

Invariants: what is rendered for one engine holds no trace of a cluster; a placeholder that is not known is an error,
so that no text reaches an engine half rendered. Names are checked, never quoted into shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sonde.errors import UsageError

DATABASE = "sonde"

#: Inserts that a plain table remembers by token; a retry comes within a few of its own.
_PLAIN_WINDOW = 10_000
#: Of a replicated table. An aggregator that died between rows and ledger leaves a batch to these tokens alone, and its
#: agent may come back a day later (spool.max_age_seconds), after many inserts of others. ClickHouse's own default of
#: an hour would store such a batch twice.
_REPLICATED_WINDOW, _REPLICATED_WINDOW_S = 100_000, 7 * 86_400

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PLACEHOLDER = re.compile(r"[ \n]*@on_cluster\b|@(\w+)(?:\(([^()]*)\))?")


@dataclass(frozen=True)
class Target:
    """Where the statements go. `cluster` is its name in the servers' remote_servers; '' for one engine."""

    cluster: str = ""
    database: str = DATABASE

    def __post_init__(self) -> None:
        if self.cluster and not _NAME.fullmatch(self.cluster):
            raise UsageError(f"cluster {self.cluster!r}: letters, digits, '_', '-' and '.' only")
        identifier("database", self.database)

    def local(self, table: str) -> str:
        """The table that holds the rows of `table` on each server."""
        return f"{table}_local" if self.cluster else table


def identifier(what: str, name: str) -> str:
    """`name`, where it may stand in a statement as it is.

    Raises:
        UsageError: it holds more than letters, digits and '_'.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(f"{what} {name!r}: letters, digits and '_' only")
    return name


def render(text: str, target: Target, names: Mapping[str, str] | None = None) -> str:
    """`text` for `target`; `names` are what `@name(...)` stands for, checked by the caller (`identifier`).

    Raises:
        UsageError: a placeholder is not known.
    """
    return _PLACEHOLDER.sub(lambda match: _one(match, target, names or {}), text)


def _one(match: re.Match[str], target: Target, names: Mapping[str, str]) -> str:
    kind, inside = match[1], match[2] or ""
    if kind == "database":
        return target.database
    if kind == "name" and inside in names:
        return names[inside]
    if kind is None:
        return f" ON CLUSTER '{target.cluster}'" if target.cluster else ""
    if kind == "local" and inside:
        return target.local(inside)
    if kind == "replicated" and inside:
        path = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
        return f"Replicated{inside}({path})" if target.cluster else inside
    if kind == "system" and inside:
        return f"cluster('{target.cluster}', system.{inside})" if target.cluster else f"system.{inside}"
    if kind == "deduplicated":
        if not target.cluster:
            return f"non_replicated_deduplication_window = {_PLAIN_WINDOW}"
        return (
            f"replicated_deduplication_window = {_REPLICATED_WINDOW}, "
            f"replicated_deduplication_window_seconds = {_REPLICATED_WINDOW_S}"
        )
    table, _, key = inside.partition(",")
    if kind == "distributed" and key.strip():
        return _distributed(table.strip(), key.strip(), target) if target.cluster else ""
    raise UsageError(f"schema: {match[0]} is no placeholder; aggregator/storage/templates.py lists them")


def _distributed(table: str, key: str, target: Target) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER '{target.cluster}' AS {target.local(table)}\n"
        f"ENGINE = Distributed('{target.cluster}', '{target.database}', '{target.local(table)}', cityHash64({key}))"
    )
