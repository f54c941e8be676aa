"""1,000,000 requests of 20 hosts: percentiles of every roll-up are within 1 % of the exact value of their rank.

The durations have a heavy tail and another scale on each host; each host's requests come in two batches that overlap in
time, over three hours, through the real ingest path. Exact: the value of rank floor(q (n - 1)) of the sorted durations.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from proto import sonde_pb2 as pb
from sonde import batches
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder, seal

HOSTS, PER_HOST, BATCHES = 20, 50_000, 2
LEVELS = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
SPAN_US = 3 * 3_600_000_000
START_US = time.time_ns() // 1000 - 30 * 3_600_000_000
#: 1 %, and what the logarithm of a bucket's very edge may be off by.
WITHIN = 0.01 * (1 + 1e-9)

U64 = npt.NDArray[np.uint64]


def durations(host: int, generator: np.random.Generator) -> U64:
    """Units of 100 ns: log-normal around 2 ms times the host's scale, one in fifty from a Pareto tail, some 0."""
    usual = generator.lognormal(np.log(20_000 * (1 + host)), 1.2, PER_HOST)
    tail = 100_000 * (1 + generator.pareto(0.8, PER_HOST))
    both = np.where(generator.random(PER_HOST) < 0.02, tail, usual)
    both[:: 1000 + host] = 0
    made: U64 = np.minimum(both, 600_000_000).astype(np.uint64)
    return made


def sealed(host: str, duration: U64, number: int, generator: np.random.Generator) -> pb.SealedBatch:
    builder = Builder(host, ["10.3.0.1"])
    link = builder.link("client", "nginx", "10.3.0.1", 40_000, "203.0.113.9", 80)
    builder.request(link)
    batch = builder.build()
    rows = len(duration)
    columns = {name: np.repeat(column, rows) for name, column in batches.read("requests", batch.requests).items()}
    columns |= {
        "start": np.sort(START_US + generator.integers(0, SPAN_US, rows)).astype(np.uint64),
        "duration": duration,
        "process": duration,
        "offset": np.arange(rows, dtype=np.uint64) * 100,
    }
    batches.fill("requests", batch.requests, columns)
    return seal(batch, host, number)


@pytest.mark.parametrize("aggregator", ["chdb"], indirect=True)
def test_percentiles_of_every_roll_up_are_within_one_percent(aggregator: Aggregator) -> None:
    generator = np.random.default_rng(20_250_101)
    exact: dict[str, U64] = {}
    for number in range(HOSTS):
        host = f"p-{number:02}"
        exact[host] = durations(number, generator)
        agent = Agent(aggregator.grpc, host)
        for part in range(BATCHES):
            agent.send(sealed(host, exact[host][part::BATCHES], part + 1, generator))
        assert sorted(agent.answer().ack.sequence for _ in range(BATCHES)) == [1, 2]
        agent.close()
    everything = np.concatenate(list(exact.values()))
    assert len(everything) == 1_000_000
    wanted = {host: np.sort(values) for host, values in {**exact, "": everything}.items()}
    asked = ", ".join(f"sketchQuantile({level}, sumMap(duration))" for level in LEVELS)
    worst = {}
    for table in ("10s", "1m", "1h"):
        rows = aggregator.query(
            f"SELECT host, {asked}, sum(requests) FROM request_stats_{table} WHERE host LIKE 'p-%' GROUP BY host "
            f"UNION ALL SELECT '', {asked}, sum(requests) FROM request_stats_{table} WHERE host LIKE 'p-%'"
        )
        assert sorted(row[0] for row in rows) == sorted(wanted)
        for host, *found, count in rows:
            values = wanted[host]
            assert int(count) == len(values)
            for level, value in zip(LEVELS, found, strict=True):
                true = 100 * int(values[int(np.floor(level * (len(values) - 1)))])
                worst[table] = max(worst.get(table, 0.0), abs(float(value) - true) / true)
    assert {table: error for table, error in worst.items() if error > WITHIN} == {}
    assert min(worst.values()) > 0.005  # exact values in place of sketches would be another thing than what runs
