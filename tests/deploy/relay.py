"""The machines' only way to packages: an HTTP proxy on the controller that fetches through this machine, and keeps.

It serves GET of plain HTTP URLs, which is what apt asks a proxy for; everything else is refused. Packages never change,
so they are kept in a folder between runs.
"""

from __future__ import annotations

import hashlib
import http.server
import shutil
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT_SECONDS = 120


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cache: Path

    def do_GET(self) -> None:
        if not self.path.startswith("http://"):
            self.send_error(403)
            return
        kept = self.cache / hashlib.sha256(self.path.encode()).hexdigest()
        try:
            if not kept.exists():
                self._fetch(kept)
            with kept.open("rb") as file:
                self.send_response(200)
                self.send_header("Content-Length", str(kept.stat().st_size))
                self.end_headers()
                shutil.copyfileobj(file, self.wfile)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
        except (OSError, urllib.error.URLError) as error:
            self.send_error(502, str(error))
        finally:
            if not self.path.endswith(".deb"):
                kept.unlink(missing_ok=True)

    def _fetch(self, kept: Path) -> None:
        part = kept.with_suffix(f".{threading.get_ident()}")
        with urllib.request.urlopen(self.path, timeout=_TIMEOUT_SECONDS) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
        part.replace(kept)

    def log_message(self, *args: object) -> None:
        """Nothing: the playbooks' output is what is read."""


class Relay:
    """Serves `listening`, a socket inside the machines' network, until closed."""

    def __init__(self, listening: socket.socket, cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        handler = type("Handler", (_Handler,), {"cache": cache})
        self._server = http.server.ThreadingHTTPServer(("", 0), handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
