"""`sonde schema`: the tables of the store, embedded or clickhouse://, one server or a cluster, and a server's users.

`show` needs no store. `apply` opens the one of storage.url; an embedded store that a running aggregator holds cannot be
opened by another process, and needs it not, since the aggregator applies the schema when it starts. `check` goes over
the SQL port, so that it also works while the aggregator runs, or with --config to the store itself.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click

from aggregator.sql_client import SqlPort
from aggregator.sql_options import sql_port
from sonde.errors import SondeError, UsageError

if TYPE_CHECKING:
    from aggregator.storage.catalog import Catalog
    from aggregator.storage.templates import Target

_config = click.option(
    "--config", "file", type=click.Path(dir_okay=False), help="Aggregator's YAML file; for storage.url and cluster."
)


@click.group()
def schema() -> None:
    """The store's tables: what they should be, make them so, and whether they are; and a server's users."""


@schema.command("show")
@click.option("--cluster", default="", metavar="NAME", help="As for a cluster of that name in remote_servers.")
@click.option("--database", default="sonde", show_default=True)
def show_command(cluster: str, database: str) -> None:
    """Print the statements of every schema file, in their order; the database must be selected."""
    from aggregator.storage.client import query_text
    from aggregator.storage.migrations import migrations, split
    from aggregator.storage.templates import Target, render

    target = Target(cluster, database)
    for template in split(query_text("create_migrations")):
        if statement := render(template, target):
            click.echo(f"{statement};\n")
    for migration in migrations():
        click.echo(f"-- {migration.name}")
        for statement in migration.rendered(target):
            click.echo(f"{statement};\n")


@schema.command("apply")
@_config
def apply_command(file: str | None) -> None:
    """Apply the schema files that the store lacks, and the retention settings.

    Safe to repeat, and while aggregators of a clickhouse:// store run. Passwords: in the file or in
    SONDE_AGGREGATOR__STORAGE__URL, never on the command line.
    """
    from aggregator import config
    from aggregator.storage import migrations
    from aggregator.storage.client import Store, parse

    settings = config.load(file=file).storage
    store = Store(parse(settings.url), settings.memory_bytes, settings.cluster)
    try:
        done = migrations.migrate(store)
        migrations.set_retention(store, settings.retention_days)
    finally:
        store.close()
    click.echo(f"{done} schema files applied" if done else "the schema was up to date")


@schema.command("check")
@_config
@click.option("--cluster", default="", metavar="NAME", help="Behind --url is a cluster of that name.")
@sql_port
def check_command(file: str | None, cluster: str, port: SqlPort) -> None:
    """Compare the store's tables and columns with the schema files; exit code 1 if they differ.

    Over the SQL port; with --config, the store itself.
    """
    from aggregator.storage import catalog
    from aggregator.storage.templates import Target

    if file is not None:
        actual, target = _of_settings(file)
    else:
        actual, target = catalog.read(port.rows, port.database), Target(cluster, port.database)
    lines = catalog.differences(actual, catalog.expected(target))
    for line in lines:
        click.echo(line)
    if lines:
        raise SondeError(f"{len(lines)} differences from the schema files of this release")
    click.echo(f"{len(actual.tables)} tables and views are as the schema files say")


def _of_settings(file: str) -> tuple[Catalog, Target]:
    from aggregator import config
    from aggregator.storage import catalog
    from aggregator.storage.client import Store, parse

    settings = config.load(file=file).storage
    store = Store(parse(settings.url), settings.memory_bytes, settings.cluster)
    try:
        return catalog.of_store(store), store.target
    finally:
        store.close()


@schema.command("access")
@_config
@click.option(
    "--tenant", "tenants", multiple=True, metavar="NAME", help="Also a role that sees this tenant's hosts only."
)
@click.option("--show", is_flag=True, help="Print the statements instead of running them.")
def access_command(file: str | None, tenants: tuple[str, ...], show: bool) -> None:
    """Make the roles sonde_reader and sonde_writer of a ClickHouse server, with their limits; run it as its admin."""
    from aggregator import config
    from aggregator.storage import users
    from aggregator.storage.client import parse
    from aggregator.storage.templates import Target

    settings = config.load(file=file).storage
    target = Target(settings.cluster.name, parse(settings.url).database)
    statements = users.roles(target) + [one for name in tenants for one in users.tenant(name, target)]
    if show:
        for statement in statements:
            click.echo(f"{statement};\n")
        return
    _run(file, statements, {})
    click.echo(f"{len(statements)} statements run")


@schema.command("user")
@click.argument("name")
@_config
@click.option("--role", help="sonde_reader, sonde_writer or sonde_tenant_NAME.", required=True)
@click.option("--password-file", type=click.File(), required=True, help="File with the password; - for standard input.")
def user_command(name: str, file: str | None, role: str, password_file: IO[str]) -> None:
    """Make a user of a ClickHouse server, or give it a new password; run it as its admin."""
    from aggregator import config
    from aggregator.storage import users
    from aggregator.storage.client import parse
    from aggregator.storage.templates import Target

    settings = config.load(file=file).storage
    target = Target(settings.cluster.name, parse(settings.url).database)
    statements, given = users.user(name, role, password_file.read().strip(), target)
    _run(file, statements, given)
    click.echo(f"user {name} has role {role}")


def _run(file: str | None, statements: list[str], given: dict[str, str]) -> None:
    from aggregator import config
    from aggregator.storage.client import Store, parse

    settings = config.load(file=file).storage
    url = parse(settings.url)
    if url.embedded:
        raise UsageError("users are for clickhouse://; the embedded engine's SQL port has sql.token_file")
    store = Store(url, settings.memory_bytes, settings.cluster)
    try:
        for statement in statements:
            bound = {key: value for key, value in given.items() if f"{{{key}:" in statement}
            store.command(statement, bound or None)
    finally:
        store.close()
