"""nginx with its own configuration: static files, errors, an access log line per request, or a reverse proxy."""

from __future__ import annotations

import os
import signal
import time

from tests.targets.netns import Namespace
from tests.targets.process import Process

#: path -> size of the static files.
SIZES = {"empty": 0, "small": 64, "medium": 8_000, "large": 1_000_000}

_CONFIG = """
daemon off;
worker_processes {workers};
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 64m;
    sendfile {sendfile};
    tcp_nodelay on;
    keepalive_requests 1000000;
    keepalive_timeout 300s;
    {upstream}
    server {{
        listen {port};
        listen [::]:{port};
        {locations}
    }}
}}
"""
_STATIC = """
        root {directory}/html;
        location = /error { return 500; }
        location = /ok { return 200 "ok\\n"; }
"""
_PROXY = """
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering on;
        }
"""
_UPSTREAM = "upstream app {{ server {upstream}; keepalive 32; keepalive_requests 1000000; }}"


class Nginx(Process):
    """`/small`, `/medium`, `/large`, `/empty` and `/ok` answer 200, `/error` 500, all else 404; or all is proxied.

    Args:
        upstream: "address:port"; every request then goes there over kept-alive connections.
    """

    def __init__(
        self,
        namespace: Namespace,
        port: int = 80,
        upstream: str = "",
        workers: int = 1,
        sendfile: bool = True,
    ) -> None:
        super().__init__(namespace, ports=(port,))
        self.port = port
        self.access_log = self.directory / "access.log"
        html = self.directory / "html"
        html.mkdir()
        self.directory.chmod(0o755)
        for name, size in SIZES.items():
            (html / name).write_bytes(b"x" * size)
        config = self.directory / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                directory=self.directory,
                workers=workers,
                port=port,
                sendfile="on" if sendfile else "off",
                upstream=_UPSTREAM.format(upstream=upstream) if upstream else "",
                locations=_PROXY if upstream else _STATIC.replace("{directory}", str(self.directory)),
            )
        )
        self.argv = ["nginx", "-p", str(self.directory), "-e", str(self.directory / "error.log"), "-c", str(config)]

    def tail(self, lines: int = 15) -> str:
        """The end of its error log, with what it printed."""
        log = self.directory / "error.log"
        told = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
        return "\n".join([super().tail(lines), *told])

    def served(self, expected: int = 0, timeout_s: float = 5) -> int:
        """How many requests its access log has; waits up to the timeout until there are `expected`."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self.access_log.open("rb") as log:
                count = sum(1 for _ in log)
            if count >= expected or time.monotonic() > deadline:
                return count
            time.sleep(0.02)

    def reload(self) -> None:
        """New workers take over, the old ones finish what they have."""
        os.kill(self.pid, signal.SIGHUP)
