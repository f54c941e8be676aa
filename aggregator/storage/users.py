"""Roles, limits, users and tenants of a ClickHouse server: `sonde schema access` and `sonde schema user`.

Invariants: every statement can be run again; names that stand in a statement hold letters, digits and `_` only, since
ClickHouse lets few of them be bound here; a password is read from a file or standard input, never stands on a command
line or in a statement, and leaves this machine as a salted hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from importlib import resources
from typing import Any

from aggregator.storage.migrations import split
from aggregator.storage.templates import Target, identifier, render
from sonde.errors import UsageError

#: Tables whose rows belong to a host; a test holds this against the schema.
HOST_TABLES = (
    "agent_stats", "connections", "endpoint_reports", "host_reports", "host_tenants", "in_flight_reports",
    "request_stats_10s", "request_stats_1h", "request_stats_1m", "requests", "statement_stats_1m",
)  # fmt: skip
_VIEWS = ("endpoints", "exchanges", "hosts", "in_flight", "slow_requests", "statements")
_MIN_PASSWORD = 12


def _statements(name: str, target: Target, **names: str) -> Iterator[str]:
    text = resources.files("aggregator.storage.access").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    for statement in split(text):
        yield render(statement, target, names)


def roles(target: Target) -> list[str]:
    """Statements that make the roles, their limits and grants."""
    return list(_statements("roles", target))


def tenant(name: str, target: Target) -> list[str]:
    """Statements that make the role `sonde_tenant_<name>`: it sees the hosts whose certificates say tenant `name`.

    Only `host_tenants` it sees whole: filtered, a host that has moved to another tenant would still look like its own.

    Raises:
        UsageError: the name holds more than letters, digits and '_'.
    """
    identifier("tenant", name)
    hosts = f"SELECT host FROM {target.database}.host_tenants GROUP BY host HAVING argMax(tenant, time) = '{name}'"
    conditions = dict.fromkeys(HOST_TABLES, f"host IN ({hosts})")
    conditions["host_tenants"] = "1"
    ids = f"SELECT statement_id FROM {target.database}.statement_stats_1m WHERE host IN ({hosts})"
    conditions["statement_texts"] = f"statement_id IN ({ids})"
    found = list(_statements("tenant", target, tenant=name))
    for table, condition in conditions.items():
        for one in dict.fromkeys((table, target.local(table))):
            found += _statements("tenant_table", target, tenant=name, table=one, condition=condition)
    for view in _VIEWS:
        found.append(render(f"GRANT @on_cluster SELECT ON @database.{view} TO sonde_tenant_{name}", target))
    return found


def user(name: str, role: str, password: str, target: Target) -> tuple[list[str], dict[str, Any]]:
    """Statements that make a user of `role`, and the parameters to bind.

    Raises:
        UsageError: the name or role holds more than letters, digits and '_', or the password is short.
    """
    if len(password) < _MIN_PASSWORD:
        raise UsageError(f"the password has fewer than {_MIN_PASSWORD} characters")
    salt = secrets.token_hex(16)
    given = {"hash": hashlib.sha256((password + salt).encode()).hexdigest(), "salt": salt}
    return list(_statements("user", target, user=identifier("user", name), role=identifier("role", role))), given
