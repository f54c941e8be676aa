"""`sonde config show`: the effective settings of each program, secrets masked."""

from __future__ import annotations

import importlib

import click

from sonde.config import Settings, load, show

#: program -> its settings model; files are /etc/sonde/PROGRAM.yml, variables SONDE_PROGRAM__...
MODELS = {
    "agent": "node_agent.config:AgentSettings",
    "aggregator": "aggregator.config:AggregatorSettings",
    "dashboard": "dashboard.config:DashboardSettings",
}


def effective(program: str, file: str | None = None) -> Settings:
    """The settings that `sonde PROGRAM` would start with; raises ConfigError."""
    module, _, name = MODELS[program].partition(":")
    model: type[Settings] = getattr(importlib.import_module(module), name)
    return load(model, f"SONDE_{program.upper()}__", f"/etc/sonde/{program}.yml", file=file)


@click.group()
def config() -> None:
    """Show the effective settings."""


@config.command("show")
@click.argument("program", type=click.Choice(sorted(MODELS)), required=False)
@click.option("--config", "file", type=click.Path(), help="Read this file instead of /etc/sonde/PROGRAM.yml.")
def show_command(program: str | None, file: str | None) -> None:
    """Print the effective settings as YAML, of PROGRAM or of all, secrets masked."""
    if file and not program:
        raise click.UsageError("--config needs a program: a file belongs to one")
    for number, name in enumerate([program] if program else sorted(MODELS)):
        if not program:
            click.echo(f"{'' if not number else chr(10)}# {name}")
        click.echo(show(effective(name, file)), nl=False)
