"""ns a record of the vectorised decoding: `python bench/decode.py [rows]`."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Callable

from node_agent.protocols import Block, Decoder

HTTP1, MYSQL, REDIS = 1, 2, 3
OK = b"\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
HTTP_OK = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 20 Nov 2026 22:00:00 GMT\r\nContent-Type: text/html\r\n"
    b'Content-Length: 615\r\nConnection: keep-alive\r\nETag: "6548e4a7-267"\r\nAccept-Ranges: bytes\r\n\r\n'
)


def block(requests: list[bytes], response: bytes, width: int, answer_width: int) -> Block:
    """A block as the kernel writes it, all requests with the same response."""
    return Block.of([(request, response) for request in requests], width, answer_width)


def mysql(text: str) -> bytes:
    """A COM_QUERY packet."""
    payload = b"\x03" + text.encode()
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def redis(*words: str) -> bytes:
    """A command as redis-py sends it."""
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words)


def workloads(rows: int) -> dict[str, tuple[int, Callable[[], Block]]]:
    """Name -> protocol and the block that it decodes."""
    r = random.Random(1)
    eof = b"\x05\x00\x00\x05\xfe\x00\x00\x02\x00"
    result = b"\x01\x00\x00\x01\x02" + bytes(r.randrange(256) for _ in range(120)) + eof

    def select() -> str:
        return f"SELECT id, name FROM users WHERE id = {r.randrange(10**9)} AND mail = '{r.randrange(10**9)}@x.org'"

    def insert() -> str:
        values = ", ".join(f"({r.randrange(10**6)}, 'it\\'s {r.randrange(10**9)}')" for _ in range(8))
        return f"INSERT INTO `shop`.`orders` (`id`, `note`) VALUES {values}"

    def get() -> bytes:
        target = f"/api/v1/items/{r.randrange(10**6)}?token={r.randrange(10**9)}"
        return f"GET {target} HTTP/1.1\r\nHost: app\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n".encode()

    def upload() -> bytes:
        target = f"/items/{uuid.UUID(int=r.getrandbits(128))}/parts"
        return f"PUT {target} HTTP/1.1\r\nHost: app\r\nContent-Length: 20\r\n\r\n".encode() + bytes(20)

    whole = HTTP_OK + bytes(615)
    return {
        "MySQL SELECT, 128 wide": (
            MYSQL,
            lambda: block([mysql(select()) for _ in range(rows)], result, 128, 64),
        ),
        "MySQL INSERT 8 rows, 384 wide": (
            MYSQL,
            lambda: block([mysql(insert()) for _ in range(rows)], OK, 384, 256),
        ),
        "Redis SET, 128 wide": (
            REDIS,
            lambda: block(
                [redis("SET", f"user:{r.randrange(10**6)}:name", f"{r.getrandbits(64)}") for _ in range(rows)],
                b"+OK\r\n",
                128,
                64,
            ),
        ),
        "HTTP GET, 128 wide": (HTTP1, lambda: block([get() for _ in range(rows)], whole, 128, 64)),
        "HTTP GET, 128 wide, 256 of response": (
            HTTP1,
            lambda: block([get() for _ in range(rows)], whole, 128, 256),
        ),
        "HTTP PUT, uuid, 384 wide": (
            HTTP1,
            lambda: block([upload() for _ in range(rows)], whole, 384, 256),
        ),
    }


def main() -> None:
    """Print one line a workload: best of three, and what one row at a time costs."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{'workload':38} {'ns/record':>10} {'scalar ns':>10} {'parsed':>7} {'statements':>10}")
    for name, (protocol, make) in workloads(rows).items():
        made, best = make(), float("inf")
        for _ in range(3):
            decoder = Decoder()
            begin = time.process_time_ns()
            decoded = decoder.decode(protocol, made)
            best = min(best, (time.process_time_ns() - begin) / rows)
        some = made.rows(slice(0, 500))
        begin = time.process_time_ns()
        Decoder().decode_scalar(protocol, some)
        scalar = (time.process_time_ns() - begin) / len(some)
        assert (decoded.valid & decoded.single).all(), name
        print(f"{name:38} {best:10.0f} {scalar:10.0f} {decoder.parsed:7} {len(set(decoded.statement_id.tolist())):10}")
        print("    ", decoder.strings[int(decoded.statement[0])], "| framed:", bool(decoded.framed.all()))


if __name__ == "__main__":
    main()
