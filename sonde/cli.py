"""The `sonde` command. Each subcommand lives with its program and is imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from sonde import WIRE_VERSION, __version__
from sonde.errors import SondeError

#: subcommand -> where it is and its one-line help, alphabetical.
COMMANDS = {
    "agent": ("node_agent.commands:agent", "Observe this host and send what is seen to an aggregator."),
    "aggregator": ("aggregator.commands:aggregator", "Receive from agents, store, serve SQL and metrics."),
    "ca": ("sonde.ca_commands:ca", "Make the certificates of agents and aggregators."),
    "config": ("sonde.show:config", "Show the effective settings."),
    "dashboard": ("dashboard.commands:dashboard", "Serve the pages."),
    "doctor": ("node_agent.commands:doctor", "Say which probes run here, which do not, why, and what would help."),
    "record": ("node_agent.commands:record", "Write what the kernel saw to a file, literals masked."),
    "replay": ("node_agent.commands:replay", "Send a recording through the whole pipeline."),
    "schema": ("aggregator.schema_commands:schema", "Show, apply or check the store's tables."),
    "sql": ("aggregator.commands:sql", "Run a query and print its result."),
    "storage": ("aggregator.storage_commands:storage", "Rows, bytes and growth of each table; when the disk is full."),
    "up": ("sonde.up:up", "Agent, aggregator and dashboard for this host."),
    "verify": ("aggregator.storage_commands:verify", "Check that rows, totals and roll-ups agree."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands, without importing them."""
        del ctx
        helps = {name: text for name, (_, text) in COMMANDS.items()} | {"version": "Print the version."}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(helps.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Where did the time of this request go? Answers for every request on a fleet of plain Linux hosts."""


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"sonde {__version__}, wire format {WIRE_VERSION}")


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: runs the command; errors are one line on standard error; exits 0, 1 (failed) or 2 (wrong usage)."""
    try:
        cli.main(args=arguments, prog_name="sonde", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(1)
    except SondeError as error:
        click.echo(f"sonde: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(1)
    sys.exit(0)
