"""What the agent costs: its ring reader, redis-benchmark with and without it, its CPU and memory, bytes, decoding."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import subject
from bench.figures import Figure, say
from node_agent.kernel import syscall
from tests.support.aggregators import Aggregator, free_port
from tests.targets.netns import Namespace, Network
from tests.targets.nginx import Nginx
from tests.targets.process import Process
from tests.targets.redis import Redis

RSS_LIMIT_MB = 150


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    pairs: int
    requests: int  # of one run of redis-benchmark
    seconds: int  # of a steady load
    memory_seconds: int


FULL, QUICK = Size(5, 150_000, 10, 60), Size(2, 60_000, 4, 10)


def ring() -> list[Figure]:
    """CPU per record of the ring reader."""
    say("ring reader against BCC's callback")
    done = subprocess.run([sys.executable, "-m", "bench.ring"], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"bench.ring failed: {(done.stderr or done.stdout)[-2000:]}")
    read: dict[str, Any] = json.loads(done.stdout)
    what = f"{read['records']:,} records of {read['bytes']} bytes, a wake-up's worth, medians of 50 and more"
    ours = read["ours"]
    return [
        Figure("ring reader, copying", f"{ours:.0f} ns a record", what),
        *(
            Figure(
                f"BCC's callback, {what}",
                f"{read[key]:.0f} ns a record",
                f"{read[key] / ours:.0f} times the ring reader's",
            )
            for key, what in (
                ("bcc_parse", "reading one field"),
                ("bcc_copy", "copying"),
                ("bcc_count", "only counting"),
            )
        ),
    ]


def throughput(host: Namespace, redis: Redis, sink: int, size: Size) -> list[Figure]:
    """redis-benchmark with and without the agent, in turns."""
    subject.benchmark(host, redis, size.requests // 3)
    ratios, without, with_agent = [], [], []
    for number in range(size.pairs):
        say(f"redis-benchmark without and with the agent, pair {number + 1} of {size.pairs}")
        # The other one first every second time: neither has the warmer machine.
        for watched in (False, True) if number % 2 else (True, False):
            if watched:
                with subject.agent(host, sink, free_port()):
                    with_agent.append(subject.benchmark(host, redis, size.requests))
            else:
                without.append(subject.benchmark(host, redis, size.requests))
        ratios.append(with_agent[-1] / without[-1])
    median = statistics.median
    spread = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    return [
        Figure("redis-benchmark, no agent", f"{median(without):,.0f} a second", "SET, 50 connections, no pipeline"),
        Figure(
            "redis-benchmark, agent at both ends",
            f"{median(with_agent):,.0f} a second",
            f"{median(ratios):.0%} of that without it; pairs: {spread}",
        ),
    ]


def _cost(name: str, agent: subject.Agent, run: Any, moderate: bool) -> list[Figure]:
    """CPU of the agent during `run`, which gives the number of requests; both ends of each are observed."""
    time.sleep(1.5)
    before, lost_before, begin = agent.cpu_s(), agent.counters(), time.monotonic()
    made = run()
    seconds = time.monotonic() - begin
    time.sleep(2.5)  # the last batch
    used, after = agent.cpu_s() - before, agent.counters()
    lost = after["requests/lost_in_kernel"] - lost_before["requests/lost_in_kernel"]
    rows = after["agent/requests"] - lost_before["agent/requests"]
    descriptor = syscall.enable_statistics()
    try:
        kernel_before = agent.kernel_ns()
        made_again = run()
        kernel = agent.kernel_ns()
    finally:
        os.close(descriptor)
    ns, runs = kernel[0] - kernel_before[0], kernel[1] - kernel_before[1]
    rate = f"{made / seconds:,.0f} requests a second, {rows / made:.2f} rows a request, {lost} rows lost"
    return [
        Figure(
            f"agent's CPU, {name}",
            f"{used / made * 1e6:.1f} us a request",
            f"{rate}; {used / seconds:.1%} of one core" if moderate else rate,
        ),
        Figure(
            f"its probes in the kernel, {name}",
            f"{ns / made_again / 1000:.1f} us a request",
            f"{runs / made_again:.1f} runs a request, {ns / max(runs, 1):.0f} ns a run, counting itself included",
        ),
    ]


def costs(host: Namespace, redis: Redis, nginx: Nginx, sink: int, size: Size) -> list[Figure]:
    """CPU and memory of the agent."""
    out = []
    with subject.agent(host, sink, free_port()) as agent:
        idle = agent.rss_mb()
        cases = (
            ("Redis, full speed", lambda: (subject.benchmark(host, redis, size.requests), size.requests)[1], False),
            ("Redis, 1,000/s", lambda: subject.steady(host, "redis", redis, redis.port, 1000, size.seconds), True),
            ("HTTP, 1,000/s", lambda: subject.steady(host, "http", nginx, 80, 1000, size.seconds), True),
            ("HTTP, one connection", lambda: subject.steady(host, "http", nginx, 80, 0, size.seconds), True),
        )
        for name, run, moderate in cases:
            say(f"agent's CPU: {name}")
            out += _cost(name, agent, run, moderate)
        say(f"agent's memory: {size.memory_seconds} s of load")
        end, peak = time.monotonic() + size.memory_seconds, agent.rss_mb()
        while time.monotonic() < end:
            subject.benchmark(host, redis, size.requests // 3)
            peak = max(peak, agent.rss_mb())
        out.append(
            Figure(
                f"agent's memory after {size.memory_seconds} s of load",
                f"{agent.rss_mb():.0f} MB",
                f"at start {idle:.0f}, highest {peak:.0f}, limit {RSS_LIMIT_MB}",
                failed=agent.rss_mb() > RSS_LIMIT_MB,
            )
        )
    return out


_PARTS = (
    "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'sonde' "
    "GROUP BY table ORDER BY table FORMAT TabSeparated"
)


def storage(host: Namespace, redis: Redis, nginx: Nginx, size: Size) -> list[Figure]:
    """Bytes a row of `requests`, on the wire and on disk."""
    say("bytes on the wire and on disk, with a real aggregator")
    folder = Path(tempfile.mkdtemp(prefix="sonde-bench-"))
    aggregator = Aggregator(folder).start()
    try:
        with subject.agent(host, aggregator.grpc, free_port()) as agent:
            subject.steady(host, "redis", redis, redis.port, 2000, size.seconds)
            subject.steady(host, "http", nginx, 80, 2000, size.seconds)
            time.sleep(2.5)
            counters = agent.counters()
            rows = counters["agent/requests"]
            deadline = time.monotonic() + 30
            while int(aggregator.query("SELECT count() FROM sonde.requests FORMAT TabSeparated")[0][0]) < rows:
                if time.monotonic() > deadline:
                    raise SystemExit("the rows did not arrive within 30 s")
                time.sleep(0.5)
        time.sleep(12)  # roll-ups of 10 s, and merges
        parts = {table: (int(count), int(octets)) for table, count, octets in aggregator.query(_PARTS)}
    finally:
        aggregator.stop()
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    stored, on_disk = parts["requests"]
    others = sum(octets for table, (_, octets) in parts.items() if table != "requests")
    return [
        Figure(
            "on the wire",
            f"{counters['agent/wire_bytes'] / rows:.1f} bytes a row",
            f"{rows:,} rows, half Redis, half HTTP, 2,000 requests/s; batches of a second, all sections",
        ),
        Figure("on disk, table requests", f"{on_disk / stored:.1f} bytes a row", f"{stored:,} rows, active parts"),
        Figure("on disk, everything else", f"{others / stored:.1f} bytes a row", "roll-ups, connections, statistics"),
    ]


def decoding() -> list[Figure]:
    """Time a record of the decoding, by bench/decode.py."""
    say("decoding")
    done = subprocess.run(
        [sys.executable, "bench/decode.py", "20000"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": "."},
    )
    out = []
    for line in done.stdout.splitlines()[1:]:
        words = line.rsplit(maxsplit=4)
        if len(words) == 5 and words[1].isdigit() and words[2].isdigit():
            times = int(words[2]) / max(int(words[1]), 1)
            against = f"{times:.0f} times less than one by one ({words[2]} ns)"
            out.append(Figure(f"decoding, {words[0]}", f"{words[1]} ns a record", against))
    return out


def run(quick: bool) -> list[Figure]:
    """All figures of the agent."""
    size, figures = QUICK if quick else FULL, ring()
    with Network("bench") as network:
        host, port = network["bench"], free_port()
        sink = Process(None, sys.executable, "-m", "bench.sink", str(port), ports=(port,))
        with Redis(host) as redis, Nginx(host) as nginx, sink:
            figures += throughput(host, redis, port, size)
            figures += costs(host, redis, nginx, port, size)
            figures += storage(host, redis, nginx, size)
    return figures + decoding()
