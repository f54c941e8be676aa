"""Who may ask: the Host header is checked (no other site's name may lead here), nothing is loaded from elsewhere."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import flask

from dashboard.config import DashboardSettings, is_loopback, split_listen

#: Dash and AG Grid start from inline scripts and evaluate expressions; everything else is served from here.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)


def protect(server: flask.Flask, settings: DashboardSettings) -> None:
    """Refuses foreign Host headers and sets the headers of every answer."""
    named = {split_listen(settings.listen)[0].lower(), *(name.lower() for name in settings.allowed_hosts)}

    @server.before_request
    def check_host() -> flask.Response | None:
        host = (urlsplit(f"//{flask.request.host}").hostname or "").lower()
        if is_loopback(host) or host in named or _is_address(host):
            return None
        return flask.Response(
            f"The dashboard does not answer to the name {host!r}. Add it to allowed_hosts.\n",
            421,
            mimetype="text/plain",
        )

    @server.after_request
    def headers(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response


def _is_address(host: str) -> bool:
    """An address cannot be rebound by DNS: only names can."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
