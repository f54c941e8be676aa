"""From sealed batch to stored row: bytes, requests a second, CPU, latency, memory, and the drain of an outage.

A real aggregator with the embedded engine, its defaults and all roll-ups, on loopback; agents are synthetic
(bench/fleet.py for the content, bench/sender.py for the streams) and share the machine's cores with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import otlp
from bench.figures import Figure, say
from bench.fleet import Fleet
from bench.senders import Measured, Sent, send
from proto import sonde_pb2 as pb

GOAL_WIRE, GOAL_DISK, GOAL_RATE = 16, 32, 300_000
RSS_LIMIT_MB = 1_000
_AGENTS = 200
_OUTAGE_AGENTS, _OUTAGE_ROWS, _HOUR_S = 50, 200, 3_600


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    stored_s: int  # seconds of a fleet whose bytes are counted
    flood_s: int
    steady_s: int
    outage_s: int


FULL, QUICK = Size(60, 80, 600, _HOUR_S), Size(20, 40, 60, 120)


@contextlib.contextmanager
def _aggregator() -> Iterator[tuple[Measured, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="sonde-bench-"))
    aggregator = Measured(folder)
    try:
        yield aggregator.start(), folder
    finally:
        aggregator.stop()
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def _templates(hosts: int, rate: int, seconds: int) -> tuple[dict[str, list[bytes]], int]:
    """Batches of a fleet (name -> one a second), and their rows a second; ends now."""
    fleet, begin_us = Fleet(hosts, rate), (int(time.time()) - seconds) * 1_000_000
    out: dict[str, list[bytes]] = {name: [] for name in fleet.names}
    rows = 0
    for number in range(seconds):
        for name, batch in zip(fleet.names, fleet.second(number, begin_us), strict=True):
            out[name].append(batch.SerializeToString())
            rows += batch.requests.rows
    return out, rows // seconds


def _refusals(sent: Sent) -> str:
    said = "".join(f", {count} x {code}" for code, count in sorted(sent.refused.items()))
    return said + (f", {sent.left} batches not acknowledged at the end" if sent.left else "")


def sizes(size: Size) -> list[Figure]:
    """Bytes a request on the wire and on disk, of 20 hosts at 1,500 requests/s each; no second twice."""
    say(f"bytes on the wire and on disk: {size.stored_s} s of 20 hosts at 1,500 requests/s")
    batches, _ = _templates(20, 30_000, size.stored_s)
    with _aggregator() as (aggregator, folder):
        sent = send(
            aggregator, folder, batches, count=size.stored_s, begin_us=(int(time.time()) - size.stored_s) * 1_000_000
        )
        aggregator.stop()
        done = subprocess.run(
            [sys.executable, "-m", "bench.parts", str(folder / "store")], capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise SystemExit(f"bench.parts failed: {done.stderr[-2000:]}")
        parts: dict[str, list[int]] = json.loads(done.stdout)
    rows = parts["requests"][0]
    if rows != sent.rows:
        raise SystemExit(f"{sent.rows} requests were acknowledged and {rows} are stored")
    some = [pb.Batch.FromString(plain[-1]) for plain in batches.values()]
    spans = sum(otlp.compressed_bytes(batch) for batch in some) / sum(batch.requests.rows for batch in some)
    disk = {table: octets / rows for table, (_, octets) in parts.items()}
    stats = sum(octets for table, octets in disk.items() if "stats" in table)
    whole = sum(disk.values())
    return [
        Figure(
            "on the wire", f"{sent.bytes / rows:.1f} bytes a request",
            f"goal {GOAL_WIRE}; {rows:,} rows, batches of a second, all sections",
        ),
        Figure(
            "the same as OTLP with gzip", f"{spans:.1f} bytes a request",
            f"{spans / (sent.bytes / rows):.1f} times as much; requests only",
        ),
        Figure(
            "on disk, table requests", f"{disk['requests']:.1f} bytes a request",
            f"goal {GOAL_DISK}; after all merges",
        ),
        Figure(
            "on disk, everything", f"{whole:.1f} bytes a request",
            f"roll-ups {stats:.1f}, the rest {whole - stats - disk['requests']:.1f}",
        ),
    ]  # fmt: skip


def flood(size: Size) -> tuple[list[Figure], float]:
    """Requests a second with 200 agents that send as fast as the window lets them; and that rate."""
    say(f"requests a second: {_AGENTS} agents, {size.flood_s} s")
    templates, rate = _templates(_AGENTS, GOAL_RATE, 5)
    count, half = size.flood_s * 3, size.flood_s / 2  # until then the windows fill
    with _aggregator() as (aggregator, folder):
        sent = send(
            aggregator, folder, templates,
            count=count, begin_us=(int(time.time()) - count) * 1_000_000, seconds=size.flood_s,
        )  # fmt: skip
    end = min(float(size.flood_s), sent.seconds)
    reached = sent.rate(half, end)
    return [
        Figure(
            "through gRPC into the store", f"{reached:,.0f} requests/s",
            f"goal {GOAL_RATE:,}; {_AGENTS} agents, batches of {rate / _AGENTS:,.0f} rows, with roll-ups; "
            f"from {half:.0f} to {end:.0f} s{_refusals(sent)}",
        ),
        Figure(
            "aggregator's CPU", f"{sent.cpu_us(half, end):.2f} us a request",
            f"{sent.aggregator_cpu_s / sent.seconds:.2f} cores; senders {sent.sending_cpu_s / sent.seconds:.2f}, "
            f"everything else on this machine {sent.others_cpu_s / sent.seconds:.2f}; memory up to "
            f"{sent.samples[:, 2].max():.0f} MB",
        ),
    ], reached  # fmt: skip


def steady(size: Size, reached: float) -> list[Figure]:
    """200 agents with a batch a second each at half the rate: latency and memory."""
    rate = int(min(GOAL_RATE, reached) / 2)
    say(f"latency and memory: {_AGENTS} agents, {rate:,} requests/s for {size.steady_s} s")
    templates, made = _templates(_AGENTS, rate, 5)
    with _aggregator() as (aggregator, folder):
        idle = aggregator.rss_mb()
        sent = send(
            aggregator, folder, templates,
            count=size.steady_s, begin_us=0, rate=1,
        )  # fmt: skip
    resident, late = sent.samples[:, 2], float(np.mean(sent.done[:, 1] - sent.done[:, 0] > 1))
    mode = "" if size.steady_s >= FULL.steady_s else "; quick mode, the bound is meant for 600 s"
    return [
        Figure(
            f"batch to acknowledgement, {_AGENTS} agents",
            f"p50 {sent.latency_ms(0.5):,.0f} ms, p99 {sent.latency_ms(0.99):,.0f} ms",
            f"{made:,} requests/s, a batch a second each; {late:.1%} over a second, longest "
            f"{sent.latency_ms(1):,.0f} ms{_refusals(sent)}",
        ),
        Figure(
            "aggregator's CPU at that rate", f"{sent.aggregator_cpu_s / sent.rows * 1e6:.2f} us a request",
            f"{sent.aggregator_cpu_s / sent.seconds:.2f} cores; senders {sent.sending_cpu_s / sent.seconds:.2f}, "
            f"everything else {sent.others_cpu_s / sent.seconds:.2f}",
        ),
        Figure(
            f"aggregator's memory, {size.steady_s} s", f"{resident.max():.0f} MB",
            f"highest; limit {RSS_LIMIT_MB}; at start {idle:.0f}, at the end {resident[-2]:.0f}{mode}",
            failed=bool(resident.max() > RSS_LIMIT_MB),
        ),
    ]  # fmt: skip


def drain(size: Size) -> list[Figure]:
    """50 agents were cut off for an hour, and come back at once."""
    say(f"drain: {_OUTAGE_AGENTS} agents with {size.outage_s} batches of {_OUTAGE_ROWS} rows each")
    templates, _ = _templates(_OUTAGE_AGENTS, _OUTAGE_AGENTS * _OUTAGE_ROWS, 20)
    with _aggregator() as (aggregator, folder):
        sent = send(
            aggregator, folder, templates,
            count=size.outage_s, begin_us=(int(time.time()) - size.outage_s) * 1_000_000,
        )  # fmt: skip
        counted = int(aggregator.query("SELECT sum(requests) FROM sonde.request_stats_1h FORMAT TabSeparated")[0][0])
    if counted != sent.rows or sent.left:
        raise SystemExit(f"{sent.rows} requests were acknowledged, {counted} counted, {sent.left} batches left")
    what = "an hour" if size.outage_s == _HOUR_S else f"{size.outage_s} s (scaled down from an hour)"
    return [
        Figure(
            f"drain of an outage of {what}", f"{sent.seconds:,.0f} s",
            f"{_OUTAGE_AGENTS} agents, {len(sent.done):,} batches of {_OUTAGE_ROWS} rows: "
            f"{len(sent.done) / sent.seconds:,.0f} batches/s, {sent.rows / sent.seconds:,.0f} requests/s, "
            f"{_OUTAGE_AGENTS * size.outage_s / len(sent.done) * size.outage_s / sent.seconds:.1f} times as fast as "
            f"it was sealed{_refusals(sent)}",
        )
    ]  # fmt: skip


PARTS = ("sizes", "flood", "steady", "drain")


def run(quick: bool, parts: tuple[str, ...] = PARTS) -> list[Figure]:
    """All figures of the pipeline, or of some `parts`."""
    size, out, reached = QUICK if quick else FULL, [], float(GOAL_RATE)
    os.sync()
    if "sizes" in parts:
        out += sizes(size)
    if "flood" in parts:
        figures, reached = flood(size)
        out += figures
    if "steady" in parts:
        out += steady(size, reached)
    if "drain" in parts:
        out += drain(size)
    return out
