"""Any sequence of what can happen to a spool keeps the invariants at the top of node_agent/delivery/spool.py.

The model knows what was sealed under which id. Kills leave a copy of the files as they were; damage flips, cuts or
removes a file between a kill and the next start; faults make the disk refuse before or after a commit.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node_agent.delivery import spool_file
from node_agent.delivery.spool import Spool
from node_agent.delivery.spool_file import SpoolFile
from node_agent.delivery.spool_sqlite import transaction
from tests.support.spools import batch, drain, kill, make
from tests.unit.agent.conftest import RAM

MAX_BYTES, MEMORY_BYTES, QUARANTINE_BYTES, LARGEST = 24_000, 12_000, 6_000, 4_000
_APPEND = SpoolFile.append


@contextlib.contextmanager
def _commit_and_fail(sql: sqlite3.Connection) -> Iterator[None]:
    with transaction(sql):
        yield
    raise sqlite3.OperationalError("disk I/O error")


_Id = tuple[bytes, int]


class SpoolModel(RuleBasedStateMachine):
    """`contents` is for ever; the rest is of this start or of this file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sonde-spool-", dir=RAM))
        self.path = self.folder / "spool.db"
        self.contents: dict[_Id, bytes] = {}
        self.waiting: dict[int, _Id] = {}  # by number, of this start
        self.patch = pytest.MonkeyPatch()
        self.now, self.moment, self.dropped = 1_800_000_000.0, 0.0, 0
        logging.getLogger("sonde.agent.delivery").setLevel(logging.CRITICAL)

    def teardown(self) -> None:
        self.patch.undo()
        self.spool.close()
        shutil.rmtree(self.folder)
        logging.getLogger("sonde.agent.delivery").setLevel(logging.NOTSET)

    @initialize()
    def first(self) -> None:
        self.start()

    def start(self) -> None:
        self.spool: Spool = make(
            self.path, MAX_BYTES, memory_bytes=MEMORY_BYTES, quarantine_bytes=QUARANTINE_BYTES, max_age_seconds=3600,
            clock=lambda: self.now, monotonic=lambda: self.moment,
        )  # fmt: skip
        drain(self.spool)  # finds what is damaged
        found = drain(self.spool)
        for sealed in found:  # what was acknowledged just before a kill may come again, but as it was
            assert self.contents[sealed.spool_id, sealed.sequence] == sealed.SerializeToString(), "2, 4"
        self.waiting = {sealed.sequence: (sealed.spool_id, sealed.sequence) for sealed in found}
        self.dropped = self.spool.dropped

    def end(self, how: Callable[[], None]) -> None:
        """Ends by `how`, starts, compares."""
        before, name = dict(self.waiting), self.spool.id
        healthy = not self.spool.in_memory
        assert self.spool._file is not None
        in_doubt = self.spool._file._in_doubt[0]  # a commit failed, yet may have reached the disk
        how()
        self.start()
        lost = set(before.values()) - set(self.waiting.values())
        assert self.spool.dropped == len(lost) or in_doubt, "6"
        if healthy:
            assert self.spool.id == name

    # What the agent and the aggregator do

    @rule(size=st.integers(0, LARGEST), times=st.integers(1, 4))
    def seal(self, size: int, times: int) -> None:
        for _ in range(times):
            number = self.spool.seal(batch(len(self.contents), size))
            sealed = self.spool.after(number - 1, 0)
            assert sealed is not None
            assert sealed.sequence == number
            key = sealed.spool_id, number
            assert key not in self.contents, "2: an id was given twice"
            self.contents[key] = sealed.SerializeToString()
            self.waiting[number] = key

    @rule(data=st.data(), times=st.integers(1, 5))
    def acknowledge(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            if self.waiting and self.reachable:
                number = data.draw(st.sampled_from(sorted(self.waiting)))
                self.spool.acknowledge(number)
                self.waiting.pop(number)

    @rule(data=st.data(), code=st.sampled_from(["MALFORMED", "CHANGED_CONTENT"]))
    def refuse(self, data: st.DataObject, code: str) -> None:
        if self.waiting and self.reachable:
            number = data.draw(st.sampled_from(sorted(self.waiting)))
            self.spool.refuse(number, code, "no")
            self.waiting.pop(number)

    @rule(number=st.integers(0, 1000))
    def acknowledge_what_never_was(self, number: int) -> None:
        if number not in self.waiting:
            self.spool.acknowledge(number)

    @rule(seconds=st.sampled_from([1, 600, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.moment += seconds

    @rule(seconds=st.sampled_from([-7200, 7200]))
    def the_clock_is_set(self, seconds: int) -> None:
        self.now += seconds

    # Ends and beginnings

    @rule()
    def restart(self) -> None:
        self.end(self.spool.close)

    @rule()
    def killed(self) -> None:
        self.end(lambda: kill(self.spool, self.path, self.path))

    @rule(
        end=st.sampled_from(["", "-wal", ".lock"]),
        how=st.sampled_from(["flip", "cut", "remove"]),
        place=st.floats(0, 1, exclude_max=True),
        bit=st.integers(0, 7),
        length=st.integers(1, 64),
    )
    @precondition(lambda self: not self.faulty)
    def killed_and_damaged(self, end: str, how: str, place: float, bit: int, length: int) -> None:
        kill(self.spool, self.path, self.path)
        file = Path(f"{self.path}{end}")
        if file.exists():
            raw = bytearray(file.read_bytes())
            at = int(place * len(raw))
            if how == "remove":
                file.unlink()
            elif how == "cut":
                file.write_bytes(raw[:at])
            else:
                for index in range(at, min(at + length, len(raw))):
                    raw[index] ^= 1 << bit
                file.write_bytes(raw)
        self.start()

    # A disk that refuses

    faulty = False

    @rule(after_the_commit=st.booleans(), full=st.booleans())
    @precondition(lambda self: not self.faulty)
    def disk_fails(self, after_the_commit: bool, full: bool) -> None:
        def refuse(file: SpoolFile, *given: object) -> int:
            if after_the_commit:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(spool_file, "transaction", _commit_and_fail)
                    try:
                        return _APPEND(file, *given)  # type: ignore[arg-type]
                    finally:
                        file.disconnect()  # this connection would see what SQLite says it rolled back
            raise sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")

        self.patch.setattr(SpoolFile, "append", refuse)
        self.faulty = True

    @rule()
    @precondition(lambda self: self.faulty)
    def disk_works(self) -> None:
        self.patch.undo()
        self.faulty = False
        self.moment += 3600
        self.seal(10, 1)
        assert not self.spool.failing

    # Invariants

    @invariant()
    def in_order_and_as_sealed_and_counted(self) -> None:
        found = drain(self.spool)
        order = [sealed.sequence for sealed in found]
        assert order == sorted(set(order)), "3"
        for sealed in found:
            key = sealed.spool_id, sealed.sequence
            assert self.contents[key] == sealed.SerializeToString(), "4"
            assert self.waiting.get(sealed.sequence) == key, "3: came again"
        if not self.reachable:
            return
        gone = set(self.waiting) - set(order)
        assert self.spool.dropped - self.dropped == len(gone), "6: dropped and not counted, or the other way round"
        if gone and not self.spool.failures:
            assert max(gone) < min(order), "5: not the oldest"
        self.dropped = self.spool.dropped
        self.waiting = {number: self.waiting[number] for number in order}
        assert self.spool.waiting == len(order), "6"

    @property
    def reachable(self) -> bool:
        return self.spool._file is not None and self.spool._file.is_open

    @invariant()
    def bounded(self) -> None:
        assert self.spool.waiting_bytes <= MAX_BYTES + MEMORY_BYTES + 2 * LARGEST, "5"
        if not self.spool.failures:
            assert self.spool.waiting_bytes <= MAX_BYTES, "5"

    @invariant()
    def durable_unless_it_says_otherwise(self) -> None:
        if not self.spool.in_memory:
            assert self.spool.kept == self.spool.waiting or self.spool.failures, "1"


SpoolModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSpoolModel = SpoolModel.TestCase
