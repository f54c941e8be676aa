"""`sonde aggregator` and `sonde sql`."""

from __future__ import annotations

from typing import Any

import click

from aggregator.sql_client import SqlPort
from aggregator.sql_options import sql_port
from sonde import checks, logs


@click.command()
@click.option(
    "--config", "file", type=click.Path(dir_okay=False), help="YAML file instead of /etc/sonde/aggregator.yml."
)
@click.option("--grpc-listen", metavar="HOST:PORT", help="Where agents deliver (127.0.0.1:7443).")
@click.option("--api-listen", metavar="HOST:PORT", help="Health and metrics (127.0.0.1:9180).")
@click.option("--sql-listen", metavar="HOST:PORT", help="SQL of the embedded engine (127.0.0.1:8123).")
@click.option("--store", metavar="URL", help="chdb:///path or clickhouse://user:password@host:port/database.")
@click.option("--check", is_flag=True, help="Only say whether it could start here; exit code 1 if not.")
@click.option("--insecure", is_flag=True, default=None, help="Let agents of other hosts deliver in plain text.")
def aggregator(
    file: str | None,
    grpc_listen: str | None,
    api_listen: str | None,
    sql_listen: str | None,
    store: str | None,
    insecure: bool | None,
    check: bool,
) -> None:
    """Receive from agents, store, serve SQL and metrics."""
    from aggregator import config

    said: dict[str, dict[str, Any]] = {
        "grpc": {"listen": grpc_listen, "insecure": insecure},
        "api": {"listen": api_listen},
        "sql": {"listen": sql_listen},
        "storage": {"url": store},
    }
    flags = {
        part: given
        for part, keys in said.items()
        if (given := {key: item for key, item in keys.items() if item is not None})
    }
    if check:
        from aggregator import check as examination

        checks.report(lambda: config.load(flags, file), examination.check)
        return
    settings = config.load(flags, file)
    logs.start(settings.log)
    from aggregator.program import run

    run(settings)


@click.command()
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@sql_port
def sql(query: str, form: str, port: SqlPort) -> None:
    """Run a query and print its result."""
    from aggregator import sql_client

    click.echo(sql_client.run(query, form, port), nl=False)
