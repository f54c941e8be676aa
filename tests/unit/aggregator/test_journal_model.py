"""Any sequence of what can happen to a journal keeps the invariants at the top of aggregator/ingest/journal.py.

The model knows what was appended and not forgotten. A kill ends an append at any byte or call; damage flips, cuts or
empties files between a kill and the next start; a full disk takes any number of bytes first.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aggregator.ingest.journal import Journal
from sonde.errors import JournalError

_RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_RECORDS = st.binary(max_size=300) | st.integers(1, 20_000).map(lambda size: b"r" * size)


class Killed(BaseException):
    """The process ended here."""


@contextmanager
def ends(at: str, after: int, how: BaseException) -> Iterator[None]:
    """Within, the call `at` fails by `how`; a write first takes `after` bytes in all."""
    left = after
    write, fsync, rename = os.write, os.fsync, Path.rename

    def some(descriptor: int, data: Any) -> int:
        nonlocal left
        if left <= 0:
            raise how
        taken = write(descriptor, data[: min(left, 7_000)])
        left -= taken
        return taken

    def sync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise how
        fsync(descriptor)

    def move(path: Path, target: Path) -> Path:
        if left > 0:
            rename(path, target)
        raise how

    with pytest.MonkeyPatch.context() as patch:
        if at == "write":
            patch.setattr(os, "write", some)
        elif at == "fsync":
            patch.setattr(os, "fsync", sync)
        else:
            patch.setattr(Path, "rename", move)
        yield


class JournalModel(RuleBasedStateMachine):
    """`kept` is what a replay has to give, in order; `doubtful` what it may give: an append that a kill ended."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="sonde-journal-", dir=_RAM))
        self.kept: dict[str, bytes] = {}
        self.doubtful: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.number = 0
        logging.getLogger("aggregator.ingest.journal").setLevel(logging.CRITICAL)

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.top)
        logging.getLogger("aggregator.ingest.journal").setLevel(logging.NOTSET)

    @initialize()
    def first(self) -> None:
        self.journal = Journal(self.top / "journal")

    def new(self) -> str:
        self.number += 1
        return f"{self.number * 7919 % 1000:03d}{self.number}"  # names do not sort by age

    # What the pipeline does

    @rule(record=_RECORDS)
    def append(self, record: bytes) -> None:
        identity = self.new()
        self.journal.append(identity, record)
        self.kept[identity] = record

    @rule(data=st.data())
    @precondition(lambda self: self.kept)
    def forget(self, data: st.DataObject) -> None:
        identity = data.draw(st.sampled_from(sorted(self.kept)))
        self.journal.forget(identity)
        del self.kept[identity]

    @rule(record=_RECORDS, at=st.sampled_from(["write", "fsync", "rename"]), after=st.integers(0, 45_000))
    def disk_is_full_or_fails(self, record: bytes, at: str, after: int) -> None:
        identity = self.new()
        try:
            with ends(at, after % 2 if at == "fsync" else after, OSError(errno.ENOSPC, "No space left on device")):
                self.journal.append(identity, record)
        except JournalError:
            return  # 3
        self.kept[identity] = record  # there was space for it

    # Ends and beginnings

    def start(self) -> dict[str, bytes]:
        before = len(list(self.journal.folder.glob("*.block")))
        self.journal.close()
        self.journal = Journal(self.top / "journal")
        assert not list(self.journal.folder.glob("*.tmp")), "4: an unfinished record stays"
        assert len(self.journal) == before
        found = list(self.journal.replay())
        assert len(dict(found)) == len(found), "2: twice"
        return dict(found)

    @rule()
    def restart(self) -> None:
        found = self.start()
        assert [one for one in found if one in self.kept] == list(self.kept), "1, 2: all, in order"
        self.learn(found)
        assert self.journal.set_aside == 0, "4: set aside without damage"

    def learn(self, found: dict[str, bytes]) -> None:
        for identity, record in found.items():
            assert record == {**self.kept, **self.doubtful}[identity], "2, 3: never appended, or other bytes"
        self.kept, self.doubtful = found, {}

    @rule(record=_RECORDS, at=st.sampled_from(["write", "fsync", "rename"]), after=st.integers(0, 45_000))
    def killed_in_an_append(self, record: bytes, at: str, after: int) -> None:
        identity = self.new()
        self.doubtful[identity] = record
        with suppress(Killed), ends(at, after % 2 if at == "fsync" else after, Killed()):
            self.journal.append(identity, record)
        self.restart()

    @rule(
        data=st.data(),
        how=st.sampled_from(["page", "flip", "cut", "grow", "other"]),
        place=st.floats(0, 1, exclude_max=True),
        length=st.integers(1, 5_000),
    )
    @precondition(lambda self: self.kept)
    def damaged_while_down(self, data: st.DataObject, how: str, place: float, length: int) -> None:
        identity = data.draw(st.sampled_from(sorted(self.kept)))
        (path,) = self.journal.folder.glob(f"*-{identity}.block")
        raw = bytearray(path.read_bytes())
        at = int(place * len(raw))
        if how == "page":
            at -= at % 4096
            raw[at : at + 4096] = os.urandom(4096)
        elif how == "flip":
            for index in range(at, min(at + length, len(raw))):
                raw[index] ^= 0x11
        elif how == "cut":
            del raw[at:]
        elif how == "grow":
            raw += b"\0" * length
        else:
            raw[:] = os.urandom(len(raw))
        path.write_bytes(raw)
        found = self.start()
        others = {one: record for one, record in self.kept.items() if one != identity}
        assert {one: record for one, record in found.items() if one != identity} == others, "4: stops another"
        assert self.journal.set_aside == (identity not in found), "4: counted"
        if how == "page" and identity not in self.damaged:
            assert identity in found, "one bad page costs nothing"
        self.damaged.add(identity)
        self.learn(found)

    # Invariants

    @invariant()
    def nothing_but_blocks_and_a_few_damaged(self) -> None:
        names = [path.suffix for path in self.journal.folder.iterdir()]
        assert names.count(".block") == len(self.kept) == len(self.journal)
        assert names.count(".damaged") <= 3
        assert set(names) <= {".block", ".damaged"}


JournalModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestJournalModel = JournalModel.TestCase
