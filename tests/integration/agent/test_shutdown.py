"""SIGTERM to an agent: what can be delivered is, within the bound; the rest stays on disk, whatever else is dead."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aggregators import ROOT, free_port
from tests.support.fake_aggregators import FakeAggregator, delivering, until
from tests.support.faulty_proxy import FaultyProxy
from tests.support.spools import batch, make, numbers

#: The real agent on a recording instead of the kernel, with a spool on disk.
AGENT = """
import signal, sys
from node_agent.agent import Agent
from node_agent.config import AgentSettings
from node_agent.recording import Recording

running = Agent(AgentSettings.model_validate({
    "host_name": "web", "aggregator": sys.argv[2], "metrics": {"listen": ""}, "spool": {"path": sys.argv[1]},
    "flush_seconds": 0.1, "delivery": {"drain_seconds": 1, "return_seconds": 1},
}), Recording("tests/data/demo-web.sonde", loop=True, fast=False))
signal.signal(signal.SIGTERM, lambda *_: running.stop())
print("acknowledged", running.run(), running.spool.acknowledged)
"""
_BOUND_S = 30  # of a loaded machine; the drain itself is 1 s


@pytest.fixture
def aggregator() -> Iterator[FakeAggregator]:
    with FakeAggregator() as made:
        yield made


def stopped(path: Path, address: str, ready: object) -> str:
    """What an agent says that got SIGTERM once `ready` was true; it has to end in time, with exit code 0."""
    command = [sys.executable, "-c", AGENT, str(path), address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        until(ready)  # type: ignore[arg-type]
        child.send_signal(signal.SIGTERM)
        began = time.monotonic()
        try:
            out, said = child.communicate(timeout=_BOUND_S)
        finally:
            child.kill()
        assert child.returncode == 0, said
        assert time.monotonic() - began < _BOUND_S
        return out.strip()


def grown(path: Path) -> bool:
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 100_000


def test_everything_is_delivered_before_it_ends(tmp_path: Path, aggregator: FakeAggregator) -> None:
    out = stopped(tmp_path / "spool.db", aggregator.address, lambda: len(aggregator.got) > 5)
    assert out == f"acknowledged True {len(aggregator.stored)}"
    spool = make(tmp_path / "spool.db")
    assert (spool.waiting, spool.dropped) == (0, 0)
    spool.close()


@pytest.mark.parametrize("how", ["nobody", "half-open", "no answer"])
def test_a_dead_aggregator_delays_nothing_and_the_spool_keeps_it(
    how: str, tmp_path: Path, aggregator: FakeAggregator
) -> None:
    path = tmp_path / "spool.db"
    if how == "no answer":
        aggregator.answer = lambda _: []
    with FaultyProxy(aggregator.port) as proxy:
        if how == "half-open":
            proxy.stall()
        address = f"127.0.0.1:{free_port()}" if how == "nobody" else proxy.address
        out = stopped(path, address, lambda: grown(path))
        assert out == "acknowledged False 0"
        spool = make(path)
        kept = numbers(spool)
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) > 1
        assert (spool.dropped, spool.in_memory) == (0, False)
        # And is delivered by the next one.
        proxy.forward()
        aggregator.answer = lambda batch: [aggregator.ack(batch)]
        with delivering(spool, proxy.address):
            until(lambda: spool.waiting == 0)
        assert aggregator.stored == set(kept)
        spool.close()


def test_a_clean_close_waits_for_the_answers_up_to_its_bound(aggregator: FakeAggregator) -> None:
    spool = make("")

    def slow(one: object) -> list[object]:
        time.sleep(0.2)
        return [aggregator.ack(one)]  # type: ignore[arg-type]

    aggregator.answer = slow  # type: ignore[assignment]
    for number in range(4):
        spool.seal(batch(number))
    with delivering(spool, aggregator.address, answer_seconds=60) as delivery:
        assert delivery.close(60)
    assert spool.acknowledged == 4
    spool.close()
