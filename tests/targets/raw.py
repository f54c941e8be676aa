"""HTTP/1.1 over bare sockets, each server and client with one peculiarity that a probe must time right.

    python -m tests.targets.raw late-read --port 8000 --delay-ms 50

| server | does |
|---|---|
| `plain` | answers each request as it is read, pipelined ones one after the other |
| `late-read` | sleeps `delay_ms` before each first read: queue_ns |
| `late-answer` | sleeps `delay_ms` between the read and the answer: process_ns |
| `many-writes` | answers with `writes` writes, `delay_ms` apart: transfer_ns |
| `silent` | reads and never answers |
| `half` | answers with a part of what Content-Length promises, then goes quiet |
| `reset` | reads, then resets the connection |
| `close` | answers without Content-Length and closes |
| `upload` | reads the whole body in reads of 64 KiB, `delay_ms` before the first, then answers |

Each connection is served to its end before the next is accepted, in one thread, unless `--threads` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

READ_BYTES = 65_536


@dataclass(frozen=True)
class Options:
    """What the servers are told."""

    delay_s: float = 0.0
    writes: int = 10
    body: int = 100


def request(path: str = "/", body: bytes = b"", host: str = "target", method: str = "") -> bytes:
    """One HTTP/1.1 request."""
    method = method or ("POST" if body else "GET")
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + body


def response(body: bytes, status: str = "200 OK") -> bytes:
    """One HTTP/1.1 response with its length."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Reader:
    """Whole messages from a socket; keeps what came early."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._early = b""

    def message(self) -> tuple[bytes, bytes] | None:
        """Head and body of the next message with Content-Length; None at the end of the stream."""
        while b"\r\n\r\n" not in self._early:
            if not self._more():
                return None
        head, _, self._early = self._early.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(self._early) < length:
            if not self._more():
                return None
        body, self._early = self._early[:length], self._early[length:]
        return head, body

    def arrived(self) -> bool:
        """Waits until a next message begins, without reading it; False at the end of the stream."""
        return bool(self._early or self.link.recv(1, socket.MSG_PEEK))

    def _more(self) -> bool:
        data = self.link.recv(READ_BYTES)
        self._early += data
        return bool(data)


def _plain(link: socket.socket, options: Options) -> None:
    reader = Reader(link)
    while reader.message():
        link.sendall(response(b"x" * options.body))


def _late_read(link: socket.socket, options: Options) -> None:
    reader = Reader(link)
    while reader.arrived():
        time.sleep(options.delay_s)
        if not reader.message():
            return
        link.sendall(response(b"x" * options.body))


def _late_answer(link: socket.socket, options: Options) -> None:
    reader = Reader(link)
    while reader.message():
        time.sleep(options.delay_s)
        link.sendall(response(b"x" * options.body))


def _many_writes(link: socket.socket, options: Options) -> None:
    reader = Reader(link)
    while reader.message():
        whole = response(b"x" * options.body)
        step = -(-len(whole) // options.writes)
        for start in range(0, len(whole), step):
            if start:
                time.sleep(options.delay_s)
            link.sendall(whole[start : start + step])


def _silent(link: socket.socket, options: Options) -> None:  # noqa: ARG001
    while link.recv(READ_BYTES):
        pass


def _half(link: socket.socket, options: Options) -> None:
    reader = Reader(link)
    if reader.message():
        whole = response(b"x" * options.body)
        link.sendall(whole[: len(whole) - options.body // 2])
        _silent(link, options)


def _reset(link: socket.socket, options: Options) -> None:  # noqa: ARG001
    Reader(link).message()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _close(link: socket.socket, options: Options) -> None:
    if Reader(link).message():
        link.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * options.body)


def _upload(link: socket.socket, options: Options) -> None:
    reader = Reader(link)
    while reader.arrived():
        time.sleep(options.delay_s)
        whole = reader.message()
        if not whole:
            return
        link.sendall(response(b"%d\n" % len(whole[1])))


SERVERS: dict[str, Callable[[socket.socket, Options], None]] = {
    "close": _close,
    "half": _half,
    "late-answer": _late_answer,
    "late-read": _late_read,
    "many-writes": _many_writes,
    "plain": _plain,
    "reset": _reset,
    "silent": _silent,
    "upload": _upload,
}


def ask(link: socket.socket, path: str = "/", body: bytes = b"") -> bytes:
    """Sends one request and returns the response's body; raises ConnectionError if the stream ends before it."""
    link.sendall(request(path, body))
    answer = Reader(link).message()
    if answer is None:
        raise ConnectionError("the server closed before its answer was complete")
    return answer[1]


def pipeline(link: socket.socket, count: int = 3, gap_s: float = 0.02, path: str = "/pipelined") -> list[bytes]:
    """Sends `count` requests `gap_s` apart without waiting, then reads all answers."""
    for number in range(count):
        if number:
            time.sleep(gap_s)
        link.sendall(request(f"{path}/{number}"))
    reader = Reader(link)
    answers = [reader.message() for _ in range(count)]
    return [answer[1] for answer in answers if answer]


def early_next(link: socket.socket, pause_s: float = 0.1) -> list[bytes]:
    """Sends a second request while the server's write of a long first response has not returned.

    The server must answer more than both socket buffers hold (`plain` with a body of 8 MB).
    """
    link.sendall(request("/long"))
    time.sleep(pause_s)
    link.sendall(request("/early"))
    time.sleep(pause_s)
    reader = Reader(link)
    answers = [reader.message(), reader.message()]
    return [answer[1] for answer in answers if answer]


def serve(mode: str, port: int, options: Options, threads: bool = False, address: str = "::") -> None:
    """Accepts for ever."""
    with socket.create_server((address, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64) as listener:
        while True:
            link, _ = listener.accept()
            if threads:
                threading.Thread(target=_one, args=(mode, link, options), daemon=True).start()
            else:
                _one(mode, link, options)


def _one(mode: str, link: socket.socket, options: Options) -> None:
    with link, contextlib.suppress(OSError):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        SERVERS[mode](link, options)


def main() -> None:
    """Runs one server."""
    parser = argparse.ArgumentParser(description="HTTP/1.1 servers with one peculiarity each")
    parser.add_argument("mode", choices=sorted(SERVERS))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--writes", type=int, default=10)
    parser.add_argument("--body", type=int, default=100)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    serve(given.mode, given.port, Options(given.delay_ms / 1000, given.writes, given.body), bool(given.threads))


if __name__ == "__main__":
    main()
