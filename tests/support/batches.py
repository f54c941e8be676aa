"""Valid batches for tests: one call makes a host's batch with links, requests and whatever else is asked for.

builder = Builder("web", addresses=["10.0.0.1"])
link = builder.link("client", "nginx", "10.0.0.1", 40000, "10.0.0.2", 8080, connection_id=7)
builder.request(link, duration_us=1500)
sealed = builder.seal(sequence=1)
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import defaultdict
from typing import Any

import numpy as np
import zstandard

from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION, batches, sketch, sketches

SPOOL = bytes(range(16))


def address(text: str) -> bytes:
    """16 bytes, network order, IPv4 mapped."""
    ip = ipaddress.ip_address(text)
    return b"\0" * 10 + b"\xff\xff" + ip.packed if ip.version == 4 else ip.packed


def connection_id(number: int) -> int:
    """Some connection's id, never 0."""
    return (number * 0x9E3779B97F4A7C15 + 1) & (2**64 - 1) or 1


def seal(batch: pb.Batch, agent: str, sequence: int, spool_id: bytes = SPOOL) -> pb.SealedBatch:
    """`batch` as an agent sends it."""
    return seal_bytes(batch.SerializeToString(deterministic=True), agent, sequence, spool_id)


def seal_bytes(plain: bytes, agent: str, sequence: int, spool_id: bytes = SPOOL) -> pb.SealedBatch:
    """Any bytes, sealed as if they were a batch."""
    content = zstandard.compress(plain)
    return pb.SealedBatch(
        wire_version=WIRE_VERSION,
        agent=agent,
        spool_id=spool_id,
        sequence=sequence,
        content=content,
        content_bytes=len(plain),
        checksum=int.from_bytes(hashlib.blake2b(content).digest()[:8], "little"),
    )


class Builder:
    """One host's batch, row by row."""

    def __init__(self, host: str, addresses: list[str] | None = None, now_us: int | None = None) -> None:
        self.host = host
        self.now_us = now_us or time.time_ns() // 1000
        self.addresses = addresses or []
        self.strings = {"": 0}
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.details: list[dict[str, int]] = []
        self.sketches: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self.replay = False
        self.tags: dict[str, str] = {}

    def text(self, text: str) -> int:
        """Index of `text` in the strings."""
        return self.strings.setdefault(text, len(self.strings))

    def link(
        self,
        role: str,
        service: str,
        local: str,
        local_port: int,
        remote: str,
        remote_port: int,
        connection_id: int = 0,
    ) -> int:
        """One end of a connection; its index."""
        self.rows["links"].append(
            {
                "role": pb.Role.Value(role.upper()), "pid": 100, "service": self.text(service),
                "comm": self.text(service),
                "local_ip": address(local), "local_port": local_port, "remote_ip": address(remote),
                "remote_port": remote_port, "connection_id": connection_id,
            }
        )  # fmt: skip
        return len(self.rows["links"]) - 1

    def request(self, link: int, **given: Any) -> None:
        """One request of 1 ms; times and durations are in the wire's units unless named *_us."""
        duration = given.pop("duration_us", 1000) * 10
        row = {
            "link": link, "protocol": pb.HTTP1, "operation": self.text(given.pop("operation", "GET")),
            "resource": self.text(given.pop("resource", "/")), "statement_id": 0,
            "statement": self.text(given.pop("statement", "")), "status": pb.OK,
            "status_code": self.text(given.pop("status_code", "200")), "start": self.now_us - 2_000_000,
            "duration": duration, "queue": 100, "receive": 0, "process": max(duration - 200, 0),
            "transfer": 100, "gap": 0,
            "request_bytes": 100, "response_bytes": 1000, "ended_by": pb.FRAMING,
            "offset": 100 * len(self.rows["requests"]), "weight": 1, "flags": 0,
        }  # fmt: skip
        self.rows["requests"].append(row | given)

    def unsampled(self, link: int, durations_us: list[int], **given: Any) -> None:
        """One sum of requests without a row, which lasted so long; all of it was process."""
        row = {
            "link": link, "protocol": pb.HTTP1, "operation": self.text(given.pop("operation", "GET")),
            "resource": self.text(given.pop("resource", "/")), "statement_id": 0, "status": pb.OK,
            "time": self.now_us - 2_000_000, "requests": len(durations_us),
            "request_bytes": 100 * len(durations_us), "response_bytes": 1000 * len(durations_us),
            "duration": 10 * sum(durations_us), "queue": 0, "receive": 0, "process": 10 * sum(durations_us),
            "transfer": 0,
        }  # fmt: skip
        self.rows["unsampled"].append(row | given)
        ns = {"duration": durations_us, "process": durations_us}
        for name in batches.SKETCHES:
            own = np.array(ns.get(name, [0] * len(durations_us)), dtype=np.uint64) * np.uint64(1000)
            keys, counts = np.unique(sketch.bucket(own), return_counts=True)
            self.sketches[name].append((keys, counts))

    def connection(self, link: int, **given: Any) -> None:
        """One report of an open connection."""
        row = dict.fromkeys(batches.SECTIONS["connections"], 0)
        row |= {"link": link, "time": self.now_us, "opened": self.now_us - 5_000_000, "outcome": pb.OPEN, "rtt": 200}
        self.rows["connections"].append(row | given)

    def endpoint(self, listens: str, port: int, service: str) -> None:
        """One listening socket."""
        row = {"address": address(listens), "port": port, "service": self.text(service), "pid": 100}
        self.rows["endpoints"].append(row)

    def statement(self, statement_id: int, text: str, protocol: int = pb.MYSQL) -> None:
        """One statement's text."""
        row = {"statement_id": statement_id, "protocol": protocol, "text": self.text(text)}
        self.rows["statements"].append(row)

    def in_flight(self, link: int, **given: Any) -> None:
        """One request that waits for its answer, for a second."""
        row = dict.fromkeys(batches.SECTIONS["in_flight"], 0)
        row |= {"link": link, "protocol": pb.HTTP1, "operation": self.text("GET"), "start": self.now_us - 1_000_000}
        self.rows["in_flight"].append(row | given)

    def agent_stats(self, probe: str, details: dict[str, int] | None = None, **given: Any) -> None:
        """One interval of one probe."""
        row = dict.fromkeys(batches.SECTIONS["agent_stats"], 0)
        row |= {"probe": self.text(probe), "time": self.now_us, "interval": 1_000_000}
        self.rows["agent_stats"].append(row | given)
        self.details.append(details or {})

    def build(self) -> pb.Batch:
        """The Batch message."""
        batch = pb.Batch(strings=list(self.strings))
        batch.host.name = self.host
        batch.host.kernel = "6.18.0"
        batch.host.os = "Debian GNU/Linux 12"
        batch.host.agent_version = "test"
        batch.host.addresses.extend(self.addresses)
        batch.host.tags.update(self.tags)
        batch.host.seen_us = self.now_us
        batch.host.started_us = self.now_us - 60_000_000
        batch.host.replay = self.replay
        for section, rows in self.rows.items():
            columns: dict[str, Any] = {}
            for name, encoding in batches.SECTIONS[section].items():
                values = [row[name] for row in rows]
                if encoding == batches.ADDRESS:
                    columns[name] = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, 16)
                else:
                    columns[name] = np.array(values, dtype=np.uint64)
            batches.fill(section, getattr(batch, section), columns)
        for name, parts in self.sketches.items():
            made = sketches.Buckets(
                np.array([len(keys) for keys, _ in parts]),
                np.concatenate([keys for keys, _ in parts]),
                np.concatenate([counts for _, counts in parts]).astype(np.uint64),
            )
            sketches.fill(getattr(batch.unsampled, f"{name}_sketch"), made)
        batch.agent_stats.details.extend(pb.StatDetails(counts=one) for one in self.details)
        return batch

    def seal(self, sequence: int, spool_id: bytes = SPOOL) -> pb.SealedBatch:
        """The sealed batch."""
        return seal(self.build(), self.host, sequence, spool_id)
