"""A small HTTP/1.1 API with one synchronous worker: several kept-alive connections, one request at a time.

While it works on one request, whatever arrives on its other connections waits in their sockets.

    python -m tests.targets.http_worker --port 8000 --mariadb 10.87.0.13:3306 --redis 10.87.0.13:6379

| path | does |
|---|---|
| `/` | nothing |
| `/items/N` | Redis GET; on a miss one SELECT in MariaDB and a Redis SETEX; 404 if there is no such item |
| `/search?name=X` | a SELECT with a literal |
| `/slow` | SELECT SLEEP(0.2) |
| `/sql-error` | a statement that MariaDB refuses; 500 |
| `/error` | 500 |
| `/block?ms=80` | sleeps, and serves nobody meanwhile |
| `/bytes/N` | a body of N bytes |
| `POST /upload` | reads the body, answers its length |
| else | 404 |
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}
MAX_HEAD = 16_384
CACHE_S = 1

Answer = tuple[int, bytes]


class Api:
    """The paths, over one connection each to MariaDB and Redis."""

    def __init__(self, mariadb: str, redis: str) -> None:
        self._sql: Any = _connect_mariadb(mariadb) if mariadb else None
        self._redis: Any = _connect_redis(redis) if redis else None

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """Status and body of one request."""
        url = urlsplit(target)
        words = url.path.strip("/").split("/")
        options = {name: texts[-1] for name, texts in parse_qs(url.query).items()}
        match words:
            case [""]:
                return 200, b"ok\n"
            case ["items", number] if number.isdigit():
                return self._item(int(number))
            case ["search"]:
                found = self._rows("SELECT id, name FROM items WHERE name = %s LIMIT 5", options.get("name", ""))
                return 200, json.dumps(found).encode()
            case ["slow"]:
                self._rows("SELECT SLEEP(0.2)")
                return 200, b"slept\n"
            case ["sql-error"]:
                self._rows("SELECT missing_column FROM items WHERE id = 1")
                return 200, b"unexpected\n"
            case ["error"]:
                return 500, b"as asked\n"
            case ["block"]:
                time.sleep(min(int(options.get("ms", "80")), 10_000) / 1000)
                return 200, b"blocked\n"
            case ["bytes", number] if number.isdigit():
                return 200, b"x" * min(int(number), 64_000_000)
            case ["upload"] if method == "POST":
                return 200, b"%d\n" % len(body)
        return 404, b"no such path\n"

    def _item(self, number: int) -> Answer:
        key = f"item:{number}"
        known = self._redis.get(key) if self._redis else None
        if known is not None:
            return 200, bytes(known)
        rows = self._rows("SELECT id, name FROM items WHERE id = %s", number)
        if not rows:
            return 404, b"no such item\n"
        text = json.dumps(rows[0]).encode()
        if self._redis:
            self._redis.setex(key, CACHE_S, text)
        return 200, text

    def _rows(self, statement: str, *values: object) -> list[Any]:
        if not self._sql:
            return []
        with self._sql.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())


class _Connection:
    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.read = b""


class Worker:
    """Accepts, reads and answers in one thread."""

    def __init__(self, address: str, port: int, api: Api) -> None:
        self._api = api
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((address, port), backlog=256)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Serves until the process is ended."""
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                elif not self._serve(key.data):
                    self._selector.unregister(key.fileobj)
                    key.data.link.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            link, _ = self._listener.accept()
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.settimeout(10)
            self._selector.register(link, selectors.EVENT_READ, _Connection(link))

    def _serve(self, connection: _Connection) -> bool:
        """Reads once and answers every whole request; False when the connection is to be closed."""
        try:
            data = connection.link.recv(65_536)
            if not data:
                return False
            connection.read += data
            while b"\r\n\r\n" in connection.read:
                head, _, rest = connection.read.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines[1:])}
                length = int(headers.get("content-length", "0"))
                while len(rest) < length:
                    data = connection.link.recv(65_536)
                    if not data:
                        return False
                    rest += data
                connection.read = rest[length:]
                method, target, _ = lines[0].split(" ", 2)
                connection.link.sendall(self._response(method, target, rest[:length]))
                if headers.get("connection", "").lower() == "close":
                    return False
            return len(connection.read) <= MAX_HEAD
        except (OSError, ValueError):
            return False

    def _response(self, method: str, target: str, body: bytes) -> bytes:
        try:
            status, text = self._api.answer(method, target, body)
        except Exception as error:  # the worker outlives any request
            status, text = 500, f"{type(error).__name__}\n".encode()
        return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s" % (status, REASONS[status].encode(), len(text), text)


def _connect_mariadb(endpoint: str) -> Any:
    import pymysql  # type: ignore[import-untyped]

    host, _, port = endpoint.rpartition(":")
    return pymysql.connect(host=host, port=int(port), user="root", database="shop", autocommit=True)


def _connect_redis(endpoint: str) -> Any:
    import redis

    host, _, port = endpoint.rpartition(":")
    link = redis.Redis(host=host, port=int(port), protocol=2, single_connection_client=True)
    link.ping()
    return link


def main() -> None:
    """Runs the worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--mariadb", default="", help="address:port")
    parser.add_argument("--redis", default="", help="address:port")
    parser.add_argument("--name", default="", help="process name, as in ps")
    given = parser.parse_args()
    if given.name:
        Path("/proc/self/comm").write_text(given.name)
    Worker(given.address, given.port, Api(given.mariadb, given.redis)).run()


if __name__ == "__main__":
    main()
