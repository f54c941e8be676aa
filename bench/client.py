"""A client at a steady rate: `python -m bench.client redis|http ADDRESS PORT RATE SECONDS`; prints how many it made.

RATE 0 is as fast as one connection goes. Redis: SET and GET of 100,000 keys in turns. HTTP: GETs of the small file.
"""

from __future__ import annotations

import random
import socket
import sys
import time


def _redis(number: int) -> bytes:
    words = [b"GET", b"user:%06d:name" % random.randrange(100_000)]
    if number % 2:
        words = [b"SET", words[1], b"value-%012d" % number]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _http(number: int) -> bytes:
    return b"GET /small?request=%d HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n" % number


def _read(link: socket.socket, kind: str) -> None:
    """One whole answer; Redis' come in one piece here."""
    data = link.recv(65536)
    if kind == "redis":
        return
    while b"\r\n\r\n" not in data:
        data += link.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]) - len(body)
    while left > 0:
        left -= len(link.recv(65536))


def main() -> None:
    """Send and count."""
    kind, address, port, rate, seconds = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    make = {"redis": _redis, "http": _http}[kind]
    link = socket.create_connection((address, port), 10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begin = now = time.monotonic()
    made = 0
    while now < begin + seconds:
        for _ in range(max(rate // 100, 1)):  # a hundred bursts a second
            link.sendall(make(made))
            _read(link, kind)
            made += 1
        now = time.monotonic()
        if rate and made / rate > now - begin:
            time.sleep(made / rate - (now - begin))
    print(made)


if __name__ == "__main__":
    main()
