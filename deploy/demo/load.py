"""The demo's bounded load: about 25 requests a second from one client, with a known pattern.

    python -m deploy.demo.load 10.87.0.11 80

Each half second: twelve quick requests one after the other, then `/slow` (a statement that sleeps 200 ms). Each
second one of them is an error: 404, 500, or a statement that MariaDB refuses. Since the next request is sent only
after the answer to the last, none of them waits for the worker. Each half minute, instead of `/slow`, a request
blocks the worker for 80 ms, and four more arrive meanwhile over other connections: they, and only they, wait.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TICK_S = 0.5
QUICK = 12
PAUSE_S = 0.012
BLOCK_EVERY_S = 30
FIRST_BLOCK_S = 8
BLOCK_MS = 80
#: when the other requests are sent, after the one that blocks.
MEANWHILE_S = (0.005, 0.020, 0.035, 0.050)

ERRORS = ("/no-such-page", "/error", "/sql-error")
PAGES = ("/items/{number}", "/items/{number}", "/search?name=item%20{number}", "/", "/bytes/20000")


class Connection:
    """One kept-alive HTTP/1.1 connection; it is made again when it breaks."""

    def __init__(self, address: str, port: int) -> None:
        self._end = (address, port)
        self._link: socket.socket | None = None

    def send(self, path: str) -> None:
        """Sends one GET."""
        if self._link is None:
            self._link = socket.create_connection(self._end, timeout=10)
            self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._link.sendall(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())

    def receive(self) -> int:
        """Reads one whole answer and returns its status."""
        assert self._link is not None
        read = b""
        while b"\r\n\r\n" not in read:
            read += self._some()
        head, _, body = read.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        left = length - len(body)
        while left > 0:
            left -= len(self._some())
        return int(head.split(b" ", 2)[1])

    def ask(self, path: str) -> int:
        """Sends and reads; 0 when the connection broke."""
        try:
            self.send(path)
            return self.receive()
        except OSError:
            self.close()
            time.sleep(0.2)
            return 0

    def close(self) -> None:
        """Drops the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _some(self) -> bytes:
        assert self._link is not None
        data = self._link.recv(65_536)
        if not data:
            raise ConnectionResetError("closed within an answer")
        return data


def paths() -> Iterator[str]:
    """The quick requests: every 24th is an error, the others go round the pages."""
    errors = itertools.cycle(ERRORS)
    pages = itertools.cycle(PAGES)
    for number in itertools.count(1):
        yield next(errors) if number % (2 * QUICK) == 0 else next(pages).format(number=number * 7 % 100 + 1)


def block(connections: list[Connection], milliseconds: int) -> None:
    """Blocks the worker through the first connection; the others ask while it is blocked."""
    try:
        begin = time.monotonic()
        connections[0].send(f"/block?ms={milliseconds}")
        for connection, after_s in zip(connections[1:], MEANWHILE_S, strict=True):
            time.sleep(max(0.0, begin + after_s - time.monotonic()))
            connection.send("/items/1")
        for connection in connections:
            connection.receive()
    except OSError:
        for connection in connections:
            connection.close()


def main() -> None:
    """Runs until it is ended."""
    address, port = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("load")
    main_one = Connection(address, port)
    others = [Connection(address, port) for _ in range(1 + len(MEANWHILE_S))]
    next_block = time.monotonic() + FIRST_BLOCK_S
    quick = paths()
    for tick in itertools.count():
        begin = time.monotonic()
        for path in itertools.islice(quick, QUICK):
            main_one.ask(path)
            time.sleep(PAUSE_S)
        if tick == 0:
            # nginx opens its connections to the worker now, so that none is new in the moment that matters.
            block(others, 60)
        elif time.monotonic() >= next_block:
            next_block += BLOCK_EVERY_S
            block(others, BLOCK_MS)
        else:
            main_one.ask("/slow")
        time.sleep(max(0.0, begin + TICK_S - time.monotonic()))


if __name__ == "__main__":
    main()
