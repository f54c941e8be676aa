"""Golden sealed batches: `python -m tests.data.record_batches NAME` writes tests/data/wire/NAME.bin and NAME.json.

The .bin is a serialised SealedBatch as this tree's agents send it, the .json what has to be read from it: taken from
the rows that went in, not from decoding. Once for every release that adds to the wire. Files that exist are never
written again: they are what agents of that release have in their spools. (first-light was written by this script in
the tree of the commit "First light".)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from proto import sonde_pb2 as pb
from sonde import batches
from tests.support.batches import Builder

HERE = Path(__file__).parent / "wire"
SPOOL_ID, SEQUENCE = bytes(range(100, 116)), 4711
NOW_US = 1_800_000_000_123_456


def build() -> Builder:
    """One row or more in every section, values at the ends of their ranges among them."""
    builder = Builder("golden-web", ["10.1.0.1", "2001:db8::1"], now_us=NOW_US)
    builder.tags, builder.replay = {"env": "prod", "überall": "✓"}, True
    client = builder.link("client", "nginx", "10.1.0.1", 40_001, "10.1.0.2", 3306, 2**64 - 1)
    server = builder.link("server", "api", "2001:db8::1", 443, "2001:db8::2", 65_535, 1)
    builder.request(client, duration_us=1)
    builder.request(
        client, duration_us=86_400_000_000, protocol=pb.MYSQL, operation="SELECT", resource="shop.orders",
        statement="SELECT ? FROM orders WHERE name = ?", statement_id=2**63 + 5, status=pb.SERVER_ERROR,
        status_code="1205", start=NOW_US - 86_400_000_000, queue=1, receive=255, process=256, transfer=65_536,
        gap=2**40, request_bytes=2**33, response_bytes=0, ended_by=pb.IDLE, offset=2**40 + 7, weight=19, flags=15,
    )  # fmt: skip
    builder.request(server, protocol=pb.REDIS, operation="GET", resource="user:?", status=pb.ONE_WAY, start=NOW_US - 5)
    builder.connection(client, outcome=pb.RESET, closed=NOW_US, connect=777, bytes_sent=2**35, retransmits=3, rtt=1)
    builder.connection(server, opened=0)
    builder.endpoint("::", 443, "api")
    builder.statement(2**63 + 5, "SELECT ? FROM orders WHERE name = ?")
    builder.in_flight(server, statement_id=9, request_bytes=12_345)
    builder.agent_stats("agent", {"wire_bytes": 2**40}, rss=90_000_000, cpu=1_500_000_000)
    builder.agent_stats("requests", {"lost_in_kernel/redis/server": 7}, events=997, lost_in_kernel=7, unmatched=2)
    if "unsampled" in batches.SECTIONS:  # not before its release
        builder.unsampled(server, [50, 50, 1_000_000], operation="PUT", statement_id=3)
    return builder


def expected(builder: Builder, batch: pb.Batch) -> dict[str, Any]:
    """What has to be read: columns by section, addresses in hexadecimal."""

    def plain(value: Any) -> Any:
        return value.hex() if isinstance(value, bytes) else int(value)

    sections = {
        section: {name: [plain(row[name]) for row in rows] for name in batches.SECTIONS[section]}
        for section, rows in builder.rows.items()
    }
    host = {
        "name": builder.host, "addresses": builder.addresses, "tags": builder.tags, "seen_us": NOW_US,
        "started_us": batch.host.started_us, "replay": True,
    }  # fmt: skip
    sketches = {
        name: [[[int(key), int(count)] for key, count in zip(*row, strict=True)] for row in rows]
        for name, rows in getattr(builder, "sketches", {}).items()
    }
    return {
        "host": host, "strings": list(builder.strings), "sections": sections, "details": builder.details,
        "sketches": sketches,
    }  # fmt: skip


def main() -> None:
    """Write both files."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.data.record_batches NAME, such as 0.2.0")
    files = [HERE / f"{sys.argv[1]}{end}" for end in (".bin", ".json")]
    if any(file.exists() for file in files):
        raise SystemExit(f"{files[0]} is there already and stays as it is: choose another name")
    builder = build()
    sealed = builder.seal(SEQUENCE, SPOOL_ID)
    HERE.mkdir(exist_ok=True)
    files[0].write_bytes(sealed.SerializeToString(deterministic=True))
    text = json.dumps(expected(builder, builder.build()), ensure_ascii=False)
    files[1].write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
