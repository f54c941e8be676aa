"""The row filter of a tenant on the SQL port: every table shows the rows of its hosts, and nothing else is readable.

The engine's `additional_table_filters` filters each read of a table, in views, subqueries and joins alike; readonly=1
keeps a query from changing it. Measured on chDB 26.9, that is not enough, so:

- optimizations that move a query's own conditions below the filter are off, and PREWHERE is refused: otherwise
  `WHERE throwIf(host = 'b')` tells by its error what the filter hides;
- a table with no column to filter by shows nothing, also one that a later release adds;
- system tables are refused but for a few that say nothing of rows: system.parts, query_log, processes and even
  system.tables tell of others' rows and queries; so does EXPLAIN;
- a quoted name with a dot is refused: as an alias it could choose another table's filter.

How long a query runs still depends on rows that it cannot see. Row policies would be the engine's own way; the embedded
engine does not grant them. On a ClickHouse server use them instead: this port is the embedded engine's only.
"""

from __future__ import annotations

from collections.abc import Callable

from aggregator.storage.sql_guard import SqlRefused

_SETTINGS = dict.fromkeys(
    (
        "optimize_move_to_prewhere", "optimize_move_to_prewhere_if_final", "optimize_trivial_count_query",
        "optimize_use_implicit_projections", "optimize_use_projections", "query_plan_filter_push_down",
        "query_plan_merge_expressions", "query_plan_merge_filters", "query_plan_optimize_lazy_materialization",
        "query_plan_optimize_prewhere", "use_query_cache", "use_query_condition_cache", "use_skip_indexes",
        "use_skip_indexes_on_data_read",
    ),
    "0",
)  # fmt: skip

_SYSTEM_TABLES = frozenset(
    {
        "aggregate_function_combinators", "data_type_families", "formats", "functions", "numbers", "numbers_mt", "one",
        "settings", "table_functions", "time_zones", "zeros", "zeros_mt",
    }
)  # fmt: skip
_FORBIDDEN_WORDS = frozenset({"explain", "identifier", "information_schema", "prewhere"})
_SHOWN = frozenset({"columns", "create", "databases", "fields", "tables"})
_ACCESS_DENIED = 497

#: Rows of the query, as tuples, by the name of its file.
Ask = Callable[[str], list[tuple[object, ...]]]


def _refused(what: str) -> SqlRefused:
    return SqlRefused(_ACCESS_DENIED, "ACCESS_DENIED", f"{what} is not allowed with a tenant's token", 403)


def check(tokens: list[tuple[str, str]], database: str, own: str) -> None:
    """Refuse what the filter does not hold for; `tokens` are those of the guard, without blanks.

    Raises:
        SqlRefused: ACCESS_DENIED.
    """
    if database != own:
        raise _refused(f"database {database[:40]}")
    words = [(kind, text[1:-1] if kind == "quoted" else text) for kind, text in tokens]
    following = [text for _, text in words[1:]] + ["", ""]
    for index, (kind, text) in enumerate(words):
        if kind == "quoted" and any(sign in text for sign in '\\."`'):
            raise _refused(f"the quoted name {text[:40]!r}")
        if kind not in ("word", "quoted"):
            continue
        name = text.lower()
        if name in _FORBIDDEN_WORDS:
            raise _refused(text.upper()[:40])
        if name == "system" and not (following[index] == "." and following[index + 1] in _SYSTEM_TABLES):
            raise _refused("that system table")
        if name == "show" and index == 0 and following[0].lower() not in _SHOWN:
            raise _refused(f"SHOW {following[0][:40].upper()}")


def settings(tenant: str, ask: Ask) -> dict[str, str]:
    """The engine's settings for one query of `tenant`.

    Raises:
        SqlRefused: the store could not be asked.
    """
    hosts = sorted(str(host) for host, of in ask("host_tenants") if of == tenant)
    listed = ", ".join(_quoted(host) for host in hosts)
    by_host = f"host IN ({listed})" if hosts else "0"
    filters = {}
    for database, table, has_host, has_agent, has_statement in ask("filtered_tables"):
        if has_host:
            rule = by_host
        elif has_agent:
            rule = f"agent IN ({listed})" if hosts else "0"
        elif has_statement and hosts:
            rule = f"statement_id IN (SELECT statement_id FROM {database}.statement_stats_1m WHERE {by_host})"
        else:
            rule = "0"
        filters[f"{database}.{table}"] = rule
    written = ", ".join(f"{_quoted(table)}: {_quoted(rule)}" for table, rule in sorted(filters.items()))
    return _SETTINGS | {"additional_table_filters": "{" + written + "}"}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
