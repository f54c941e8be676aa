"""A pipeline that is stopped answers everything: what is in work with an Ack, the rest with "send it later"."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from aggregator.analysis.peers import Peers
from aggregator.config import AggregatorSettings, Limits
from aggregator.config import Peers as PeersSettings
from aggregator.ingest.batch import BatchId, Block
from aggregator.ingest.counted import Counted
from aggregator.ingest.ledger import Verdict
from aggregator.ingest.merge import merge
from aggregator.ingest.pipeline import Pipeline
from aggregator.ingest.refusal import Refused
from aggregator.ingest.written import Written
from aggregator.metrics import Metrics
from aggregator.request_metrics import Totals
from tests.support.batches import Builder
from tests.unit.aggregator.parts import busy, part

_PATIENCE_S = 60


class _Ledger:
    def verdict(self, _batch: BatchId, _checksum: int) -> Verdict:
        return Verdict.NEW

    def accept(self, _block: Block) -> None:
        pass


class _Writer:
    """Inserts when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.begun = threading.Event()

    def write(self, block: Block) -> Written:
        self.begun.set()
        assert self.let.wait(_PATIENCE_S)
        merged = merge(block.parts)
        return Written({}, Totals.of(merged, Counted.of(merged)), {})


class _Answer:
    def __init__(self) -> None:
        self.given = threading.Event()
        self.refused: Refused | None = None

    def __call__(self, refused: Refused | None) -> None:
        assert not self.given.is_set(), "a batch is answered once"
        self.refused = refused
        self.given.set()


@pytest.fixture
def writer() -> Iterator[_Writer]:
    made = _Writer()
    yield made
    made.let.set()


def _pipeline(writer: _Writer, **limits: int) -> Pipeline:
    settings = AggregatorSettings(peers=PeersSettings(settle_s=0, wait_s=600), limits=Limits(**limits))
    pipeline = Pipeline(settings, Peers(settings.peers), _Ledger(), writer, Metrics(), None)  # type: ignore[arg-type]
    pipeline.start()
    return pipeline


def _submit(pipeline: Pipeline, builder: Builder) -> _Answer:
    answer, one = _Answer(), part(builder)
    pipeline.submit(one.batch, one.sealed, one.content, answer)
    return answer


def _waiting() -> Builder:
    """Its link's other end is a host of the fleet that never speaks of it."""
    builder = Builder("late", ["10.0.0.9"])
    builder.request(builder.link("client", "x", "10.0.0.9", 1, "10.0.0.1", 2, connection_id=5))
    return builder


def test_what_is_in_work_is_inserted_and_what_waits_is_put_off(writer: _Writer) -> None:
    pipeline = _pipeline(writer)
    working = _submit(pipeline, busy("web", 3))
    assert writer.begun.wait(_PATIENCE_S)
    waiting = _submit(pipeline, _waiting())
    done: list[bool] = []
    stopping = threading.Thread(target=lambda: done.append(pipeline.stop(_PATIENCE_S)))
    stopping.start()
    assert waiting.given.wait(_PATIENCE_S)
    assert waiting.refused is not None
    assert waiting.refused.retryable
    with pytest.raises(Refused) as new:
        _submit(pipeline, busy("other", 3))
    assert new.value.retryable
    assert "stopping" in str(new.value)
    assert not working.given.is_set()
    writer.let.set()
    stopping.join(_PATIENCE_S)
    assert done == [True]
    assert working.given.is_set()
    assert working.refused is None


def test_a_stop_that_takes_too_long_says_so_and_answers_nothing_wrong(writer: _Writer) -> None:
    pipeline = _pipeline(writer)
    working = _submit(pipeline, busy("web", 3))
    assert writer.begun.wait(_PATIENCE_S)
    assert not pipeline.stop(0.05)
    assert not working.given.is_set()


def test_a_full_pipeline_says_so_until_something_is_inserted(writer: _Writer) -> None:
    pipeline = _pipeline(writer, pending_bytes=1024 * 1024, pending_wait_s=0)
    answers = [_submit(pipeline, busy("web", 3_000))]
    assert not pipeline.full
    refused: Refused | None = None
    while refused is None:
        try:
            answers.append(_submit(pipeline, busy(f"web-{len(answers)}", 3_000)))
        except Refused as error:
            refused = error
    assert refused.retryable
    assert pipeline.full
    writer.let.set()
    for answer in answers:
        assert answer.given.wait(_PATIENCE_S)
    assert not pipeline.full
    assert pipeline.stop(_PATIENCE_S)
