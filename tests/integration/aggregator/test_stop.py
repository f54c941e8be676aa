"""SIGTERM with batches in work: they are inserted and acknowledged, others are put off, and the exit code is 0."""

from __future__ import annotations

import signal
from pathlib import Path

import grpc
import pytest

from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

_BATCHES = 20


def test_sigterm_answers_what_is_in_work_and_puts_off_what_waits(tmp_path: Path) -> None:
    aggregator = Aggregator(
        tmp_path, PEERS__SETTLE_S="0", PEERS__WAIT_S="600", STORAGE__BLOCK_DELAY_S="10", DRAIN_S="60"
    ).start()
    try:
        ready, waiting = Agent(aggregator.grpc, "ready"), Agent(aggregator.grpc, "late")
        for sequence in range(1, _BATCHES + 1):
            builder = Builder("ready", ["10.9.0.1"])
            builder.request(builder.link("client", "x", "10.9.0.1", sequence, "203.0.113.1", 80))
            ready.send(builder.seal(sequence))
        builder = Builder("late", ["10.9.0.2"])
        builder.request(builder.link("client", "x", "10.9.0.2", 1, "10.9.0.1", 2, connection_id=5))
        waiting.send(builder.seal(1))
        while aggregator.metric("sonde_batches_pending") < _BATCHES + 1:
            assert aggregator.process is not None
            assert aggregator.process.poll() is None
        aggregator.process.send_signal(signal.SIGTERM)
        refusal = waiting.answer().refusal
        assert refusal.retryable
        assert "stopping" in refusal.message
        assert [ready.answer().ack.sequence for _ in range(_BATCHES)] == list(range(1, _BATCHES + 1))
        with pytest.raises((grpc.RpcError, StopIteration)):
            ready.answer()
        assert aggregator.process.wait(60) == 0
        text = aggregator.log.read_text()
        assert "stopping drain_s=60.0" in text
        assert "stopped" in text
        aggregator.start()
        assert aggregator.query("SELECT count() FROM requests") == [[str(_BATCHES)]]
    finally:
        aggregator.stop()
