"""`sonde dashboard`."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from typing import Any

import click

from dashboard.config import FILE, PREFIX, DashboardSettings, split_listen
from sonde.config import load
from sonde.errors import SondeError
from sonde.notify import notify


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Address of the pages; 127.0.0.1:8050 by default.")
@click.option("--sql-url", metavar="URL", help="ClickHouse's HTTP interface; http://127.0.0.1:8123 by default.")
@click.option("--config", "file", metavar="FILE", help=f"Settings; {FILE} by default.")
def dashboard(listen: str | None, sql_url: str | None, file: str | None) -> None:
    """Serve the pages.

    They read through ClickHouse's HTTP interface only: the aggregator's own, or that of a server.
    """
    flags: dict[str, Any] = {"listen": listen, "sql_url": sql_url}
    settings = load(
        DashboardSettings, PREFIX, FILE, {key: flag for key, flag in flags.items() if flag is not None}, file
    )
    serve(settings)


def serve(settings: DashboardSettings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        SondeError: the address cannot be had.
    """
    # Imported here: `sonde --help` needs neither Dash nor plotly.
    from werkzeug.serving import make_server

    from dashboard.app import create

    host, port = split_listen(settings.listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise SondeError(f"{settings.listen}: {error.strerror}; choose another --listen") from None
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with listening:
        server = make_server(host, port, create(settings).server, threaded=True, fd=listening.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        shown = f"[{host}]" if ":" in host else host
        click.echo(
            f"sonde dashboard: http://{shown}:{listening.getsockname()[1]}/ reading {settings.sql_url}", err=True
        )
        notify("READY=1", f"STATUS=reading {settings.sql_url}")
        server.serve_forever()
        notify("STOPPING=1")
