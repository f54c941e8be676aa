"""From a batch to its acknowledgement, killed between any two steps, and with a store or journal that refuses."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aggregator.analysis.peers import Peers
from aggregator.config import AggregatorSettings
from aggregator.ingest.batch import BatchId, Block
from aggregator.ingest.journal import Journal
from aggregator.ingest.ledger import Ledger
from aggregator.ingest.pipeline import Pipeline
from aggregator.ingest.refusal import Refused
from aggregator.ingest.writer import Writer
from aggregator.metrics import Metrics
from proto import sonde_pb2 as pb
from sonde.errors import StoreError
from tests.unit.aggregator.parts import busy, part
from tests.unit.aggregator.stores import FakeStore

PARTS = [part(busy(host, requests), sequence) for sequence, (host, requests) in enumerate([("web", 11), ("db", 7)], 1)]
COUNTED = ("requests", "request_stats_10s", "statement_stats_1m", "connections", "agent_stats")


class Killed(BaseException):
    """The process ended here."""


class World:
    """What outlives a kill: the store and the journal's folder. And one process at a time."""

    def __init__(self, folder: Path, embedded: bool = True) -> None:
        self.store, self.folder = FakeStore(embedded), folder
        self.answers: dict[BatchId, list[Refused | None]] = {}
        self.pipeline: Pipeline | None = None
        self.journal: Journal | None = None

    def begin(self, run: bool = True, limits: dict[str, Any] | None = None, **storage: Any) -> Pipeline:
        given: dict[str, Any] = {"block_delay_s": 0.0, "block_retry_s": 0.1, **storage}
        peers = {"settle_s": 0, "wait_s": 0}
        settings = AggregatorSettings.model_validate({"storage": given, "peers": peers, "limits": limits or {}})
        self.journal = Journal(self.folder) if self.store.url.embedded else None
        metrics = Metrics()
        writer, ledger = Writer(self.store, settings.limits), Ledger(self.store)  # type: ignore[arg-type]
        self.pipeline = Pipeline(settings, Peers(settings.peers), ledger, writer, metrics, self.journal)
        if run:
            self.pipeline.start()
        return self.pipeline

    def submit(self, *parts: Any) -> None:
        assert self.pipeline is not None
        for one in parts:
            answers = self.answers.setdefault(one.batch, [])
            self.pipeline.submit(one.batch, one.sealed, one.content, answers.append)

    def wait(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end
            time.sleep(0.005)

    def acknowledged(self) -> list[str]:
        return sorted(batch.agent for batch, answers in self.answers.items() if None in answers)

    def end(self) -> None:
        if self.pipeline is not None:
            self.pipeline.stop(60)
            self.pipeline = None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "journal")
    yield made
    made.end()


def expected() -> dict[str, int]:
    alone = FakeStore()
    writer = Writer(alone, AggregatorSettings().limits)  # type: ignore[arg-type]
    writer.write(Block("x", 1, tuple(PARTS)))
    return {table: len(alone.tables[table]) for table in COUNTED}


def check(world: World) -> None:
    store = world.store
    assert {table: len(store.tables[table]) for table in COUNTED} == expected()
    assert sum(row["requests"] for row in store.tables["request_stats_10s"]) == 11 + 3 + 7
    assert sum(row["events"] for row in store.tables["agent_stats"]) == 18
    assert len(store.tables["accepted_batches"]) == len(PARTS)


def steps() -> Iterator[str]:
    yield from ("journal write", "journal fsync", "journal rename", "journal folder")
    for table in (*COUNTED, "host_reports", "endpoint_reports", "in_flight_reports", "statement_texts"):
        yield from (f"before {table}", f"after {table}")
    yield from ("before accepted_batches", "after accepted_batches", "forget", "forgotten", "acknowledged")


def kill_at(world: World, step: str, patch: pytest.MonkeyPatch) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise Killed

    def after(what: Callable[..., Any]) -> Callable[..., None]:
        def done(*given: Any, **named: Any) -> None:
            what(*given, **named)
            end()

        return done

    if step == "journal write":
        patch.setattr(os, "write", lambda file, data, write=os.write: (write(file, data[:9]), end()))
    elif step == "journal fsync":
        patch.setattr(os, "fsync", end)
    elif step == "journal rename":
        patch.setattr(Path, "rename", end)
    elif step == "journal folder":
        patch.setattr(Path, "rename", after(Path.rename))
    elif step == "forget":
        patch.setattr(Journal, "forget", end)
    elif step == "forgotten":
        patch.setattr(Journal, "forget", after(Journal.forget))
    elif step == "acknowledged":
        patch.setattr(Pipeline, "_finish", after(Pipeline._finish))
    else:
        world.store.step = lambda now: end() if now == step else None


@pytest.mark.parametrize("step", list(steps()))
def test_a_kill_between_any_two_steps_loses_and_repeats_nothing(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = world.begin(run=False)
    world.submit(*PARTS)
    with monkeypatch.context() as patch:
        kill_at(world, step, patch)
        block = pipeline._collector.next()
        assert block is not None
        with pytest.raises(Killed):
            pipeline._process(block, journaled=False)
    assert world.journal is not None
    world.journal.close()
    world.store.step = lambda _: None
    world.begin()
    assert not os.listdir(world.folder), "replayed, then forgotten"
    world.submit(*PARTS)  # agents send again what they think is not acknowledged
    world.wait(lambda: len(world.acknowledged()) == len(PARTS))
    check(world)


def test_a_failed_insert_is_tried_again_as_the_same_block_while_others_go_on(world: World) -> None:
    def refuse(now: str) -> None:
        if now == "before request_stats_10s" and broken:
            raise StoreError("no memory")

    broken = True
    world.store.step = refuse
    pipeline = world.begin()
    world.submit(PARTS[0])
    world.wait(lambda: pipeline.trouble)
    assert pipeline.trouble == "no memory"
    assert not pipeline.healthy
    assert world.acknowledged() == []
    idle = part(busy("idle", 0), 9)
    world.submit(idle)
    world.wait(lambda: world.acknowledged() == ["idle"])
    broken = False
    world.wait(lambda: world.acknowledged() == ["idle", "web"])
    world.wait(lambda: pipeline.healthy)
    tokens = {token for table, token, _ in world.store.inserts if table in ("requests", "request_stats_10s")}
    assert len(tokens) == 1
    assert len(world.store.tables["requests"]) == 11
    assert not os.listdir(world.folder)


def test_what_still_fails_at_the_stop_is_replayed_at_the_start(world: World) -> None:
    def refuse(now: str) -> None:
        if now == "before connections":
            raise StoreError("no space")

    world.store.step = refuse
    pipeline = world.begin()
    world.submit(*PARTS)
    world.wait(lambda: pipeline.trouble)
    world.end()
    pipeline = world.begin()
    assert pipeline.trouble == "no space", "still"
    world.submit(PARTS[1])  # joins the block that is tried again
    world.store.step = lambda _: None
    world.wait(lambda: "db" in world.acknowledged())
    world.submit(PARTS[0])
    world.wait(lambda: len(world.acknowledged()) == 2)
    check(world)


def test_a_journal_that_is_full_refuses_for_now_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pipeline = world.begin()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        world.submit(PARTS[0])
        world.wait(lambda: world.answers[PARTS[0].batch])
    (refused,) = world.answers[PARTS[0].batch]
    assert refused is not None
    assert (refused.code, refused.retryable) == (pb.Refusal.OVERLOADED, True)
    assert "No space left on device" in pipeline.trouble
    assert not world.store.inserts
    world.submit(*PARTS)
    world.wait(lambda: len(world.acknowledged()) == 2)
    assert pipeline.healthy
    check(world)


def test_an_unreadable_block_is_set_aside_and_its_batches_come_in_another(world: World) -> None:
    journal = Journal(world.folder)
    journal.append("old", b"not a block")
    journal.close()
    world.begin()
    assert world.journal is not None
    assert world.journal.set_aside == 1
    world.submit(*PARTS)
    world.wait(lambda: len(world.acknowledged()) == 2)
    check(world)


def test_without_room_a_stream_waits_and_goes_on(world: World) -> None:
    let = threading.Event()
    world.store.step = lambda now: None if let.is_set() or now != "before requests" else let.wait(60)
    pipeline = world.begin(limits={"pending_bytes": 1 << 20, "pending_wait_s": 60})
    parts = [part(busy(f"h{number}", 4_000), 1) for number in range(3)]
    threads = [threading.Thread(target=world.submit, args=(one,)) for one in parts]
    for thread in threads:
        thread.start()
    world.wait(lambda: pipeline._room._waiters)  # type: ignore[attr-defined]
    assert len(pipeline._jobs) < 3
    assert world.acknowledged() == []
    let.set()
    world.wait(lambda: len(world.acknowledged()) == 3)
    for thread in threads:
        thread.join()
    assert pipeline._pending_bytes == 0


def test_other_content_under_an_accepted_id_is_refused_for_good(world: World) -> None:
    pipeline = world.begin()
    world.submit(PARTS[0])
    world.wait(lambda: world.acknowledged() == ["web"])
    assert pipeline.repeated(PARTS[0].batch, PARTS[0].sealed.checksum)
    with pytest.raises(Refused) as caught:
        pipeline.repeated(PARTS[0].batch, PARTS[0].sealed.checksum ^ 1)
    assert (caught.value.code, caught.value.retryable) == (pb.Refusal.CHANGED_CONTENT, False)


def test_without_a_journal_a_block_is_one_batch_with_its_id_as_token(tmp_path: Path) -> None:
    world = World(tmp_path, embedded=False)
    world.begin(block_delay_s=5)
    world.submit(*PARTS)
    world.wait(lambda: len(world.acknowledged()) == 2)
    check(world)
    tokens = {token for table, token, _ in world.store.inserts if table == "requests"}
    assert tokens == {str(one.batch) for one in PARTS}

    def refuse(_: str) -> None:
        raise StoreError("away")

    world.store.step = refuse
    another = part(busy("idle", 3), 5)
    world.submit(another)
    world.wait(lambda: world.answers[another.batch])
    (refused,) = world.answers[another.batch]
    assert refused is not None
    assert refused.retryable
    world.end()


def test_batches_of_many_threads_share_blocks(world: World) -> None:
    world.begin(block_delay_s=0.2)
    parts = [part(busy(f"h{number}", 3), 1) for number in range(40)]
    threads = [threading.Thread(target=world.submit, args=(one,)) for one in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.wait(lambda: len(world.acknowledged()) == 40)
    blocks = [rows for table, _, rows in world.store.inserts if table == "accepted_batches"]
    assert sum(blocks) == 40
    assert len(blocks) < 20
    assert len(world.store.tables["requests"]) == 120
