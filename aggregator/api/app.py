"""Health and metrics on the aggregator's own port.

/healthz answers while the process serves; /readyz only when the store took the last insert and agents can deliver;
/metrics is Prometheus' text format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from aggregator.metrics import Metrics


class ApiApp:
    """The WSGI application; `ready` says why it is not ready, or ''."""

    def __init__(self, metrics: Metrics, ready: Callable[[], str]) -> None:
        self._metrics = metrics
        self._ready = ready

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request (PEP 3333)."""
        status, kind, body = self._answer(environ["PATH_INFO"])
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, path: str) -> tuple[str, str, bytes]:
        text = "text/plain; charset=utf-8"
        if path == "/healthz":
            return "200 OK", text, b"ok\n"
        if path == "/readyz":
            reason = self._ready()
            return ("503 Service Unavailable", text, f"{reason}\n".encode()) if reason else ("200 OK", text, b"ok\n")
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._metrics.registry)
        return "404 Not Found", text, b"there are /healthz, /readyz and /metrics\n"
