"""Redis without persistence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.targets.netns import Namespace
from tests.targets.process import Process


class Redis(Process):
    """A server on `port` that keeps everything in memory."""

    namespace: Namespace

    def __init__(self, namespace: Namespace, port: int = 6379) -> None:
        super().__init__(namespace, ports=(port,))
        self.port = port
        self.socket_path = self.directory / "socket"
        options = {
            "port": str(port),
            "bind": "* -::*",
            "protected-mode": "no",
            "save": "",
            "appendonly": "no",
            "dir": str(self.directory),
            "unixsocket": str(self.socket_path),
            "maxmemory": "64mb",
        }
        self.argv = ["redis-server", *(word for name, text in options.items() for word in (f"--{name}", text))]

    @contextlib.contextmanager
    def client(self, namespace: Namespace | None = None, **options: Any) -> Iterator[Any]:
        """A redis-py client with one connection from `namespace` (default: the server's own host).

        The connection is made at once; no CLIENT SETINFO and no HELLO, so that a test's commands are the only ones.
        """
        import redis

        settings = {"protocol": 2, "driver_info": None, "single_connection_client": True}
        with (namespace or self.namespace).entered():
            made: Any = redis.Redis(host=self.address, port=self.port, **{**settings, **options})
        try:
            yield made
        finally:
            made.close()

    def calls(self) -> dict[str, int]:
        """INFO commandstats, asked over the Unix socket: command -> calls, but for INFO itself."""
        import redis

        link: Any = redis.Redis(unix_socket_path=str(self.socket_path), protocol=2, driver_info=None)
        try:
            stats: dict[str, dict[str, Any]] = link.info("commandstats")
        finally:
            link.close()
        calls = {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}
        return {name: count for name, count in calls.items() if name != "info"}
