"""A WSGI application on a port of its own: waitress in threads, so that no page can hold up ingestion."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from waitress.server import create_server

from sonde.errors import UsageError

_log = logging.getLogger(__name__)

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_CONNECTIONS = 256
_IDLE_S = 60


def split_address(listen: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port".

    Raises:
        UsageError: it is neither.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{listen!r} is not an address; write host:port, such as 127.0.0.1:8123")
    return host.strip("[]"), int(port)


class WebServer:
    """One application on one address."""

    def __init__(self, name: str, app: App, listen: str, threads: int, max_body_bytes: int) -> None:
        """Bind, without serving yet.

        Raises:
            UsageError: the address cannot be bound.
        """
        host, port = split_address(listen)
        try:
            self._server = create_server(
                app,
                host=host,
                port=port,
                threads=threads,
                ident="sonde",
                connection_limit=_CONNECTIONS,
                channel_timeout=_IDLE_S,
                max_request_body_size=max_body_bytes,
                max_request_header_size=max_body_bytes,
                expose_tracebacks=False,
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            raise UsageError(f"{name}.listen {listen} cannot be bound: {error.strerror}") from None
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self._server.run()
        except OSError:
            _log.debug("closed", exc_info=True)  # the listening socket is closed under the loop by stop()

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop taking requests and wait for those in work."""
        self._server.task_dispatcher.shutdown()
        self._server.close()  # its loop ends with the last kept-alive connection, at the latest with the process
