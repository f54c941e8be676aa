"""The Dash app: the frame, every page, and nothing that comes from another machine."""

from __future__ import annotations

from pathlib import Path

import dash
import flask

from dashboard import shell
from dashboard.config import DashboardSettings
from dashboard.guard import protect
from dashboard.pages.registry import PAGES
from dashboard.source import Source


def create(settings: DashboardSettings, source: Source | None = None) -> dash.Dash:
    """The app, reading from `source` (by default from the settings' SQL endpoint); `.server` is its WSGI side."""
    source = source or Source(settings)
    server = flask.Flask("sonde-dashboard")
    protect(server, settings)
    app = dash.Dash(
        "sonde-dashboard",
        server=server,
        assets_folder=str(Path(__file__).parent / "assets"),
        title="Sonde",
        update_title=None,
        suppress_callback_exceptions=True,
        serve_locally=True,
    )
    app.layout = shell.layout(settings.refresh_seconds)
    shell.register(app, source)
    for page in PAGES.values():
        page.register(app, source)

    @server.get("/healthz")
    def health() -> flask.Response:
        return flask.Response("ok\n", mimetype="text/plain")

    return app
