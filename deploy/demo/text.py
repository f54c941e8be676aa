"""What the demo prints."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.demo.parts import Ports

_QUERIES = Path(__file__).with_name("queries")


def statements() -> list[tuple[str, str]]:
    """Title and one-line text of each statement to try."""
    found = []
    for path in sorted(_QUERIES.glob("*.sql")):
        title, _, statement = path.read_text(encoding="utf-8").partition("\n")
        found.append((title.removeprefix("-- "), " ".join(statement.split())))
    return found


def say(text: str) -> None:
    """One line of progress."""
    click.echo(f"demo: {text}")


def guide(ports: Ports, offset: int) -> None:
    """The address, statements to try, and what to look for."""
    url = f" --url http://127.0.0.1:{ports.sql}" if offset else ""
    click.echo(f"\n  Pages   http://127.0.0.1:{ports.dashboard}")
    click.echo("  SQL     from another terminal in this folder:\n")
    for title, statement in statements():
        click.echo(f'  # {title}\n  .venv/bin/sonde sql{url} "{statement}"\n')
    click.echo(
        "  Look for\n"
        "    - the statement SELECT SLEEP(?), twice a second: 200 ms, all of it process time at db's end\n"
        "    - every half minute the API's worker is blocked for 80 ms: the requests that arrive meanwhile show up to\n"
        "      75 ms of queue time on host app, and hardly any process time\n"
        "    - one error a second: 404, 500, and a statement that MariaDB refuses\n"
        "    - the network between the hosts, from both ends of each request: well under a millisecond\n"
    )
