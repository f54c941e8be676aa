"""The flags that every command over the SQL port has, and the port that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from aggregator.sql_client import SqlPort

_OPTIONS = (
    click.option(
        "--url", default="http://127.0.0.1:8123", envvar="SONDE_SQL_URL", show_default=True, show_envvar=True,
        help="The aggregator's SQL port, or a ClickHouse server.",
    ),
    click.option("--database", default="sonde", show_default=True),
    click.option("--user", envvar="SONDE_SQL_USER", show_envvar=True, help="User of a ClickHouse server."),
    click.option(
        "--token-file", type=click.Path(dir_okay=False), envvar="SONDE_SQL_TOKEN_FILE", show_envvar=True,
        help="File with the token or password, where the port asks for one.",
    ),
)  # fmt: skip


def sql_port(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the flags, and the port that they name as its argument `port`."""

    @functools.wraps(command)
    def with_port(url: str, database: str, user: str | None, token_file: str | None, **given: Any) -> None:
        command(port=SqlPort(url, database, token_file, user), **given)

    for option in reversed(_OPTIONS):
        with_port = option(with_port)
    return with_port
