"""A disk that refuses: full, read-only, failing, not there. The spool goes on in memory and comes back."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.delivery.spool_file import SpoolFile
from tests.support.spools import Clock, batch, drain, killed, make, numbers


def fault(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(SpoolFile, name, refuse)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.OperationalError("attempt to write a readonly database"),
        OSError(28, "No space left on device"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["append", "reserve"])
def test_a_failing_disk_is_told_once_and_used_again_when_it_works(
    method: str, error: Exception, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    spool = make(path, monotonic=clock)
    spool.seal(batch(1))
    name = spool.id
    with pytest.MonkeyPatch.context() as patch:
        fault(patch, method, error)
        for number in range(2, 6):
            assert spool.seal(batch(number)) == number
            clock.now += 60
        assert (spool.in_memory, spool.failing, spool.waiting) == (True, True, 5)
        assert spool.failures > 1, "it was tried again"
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 1
    assert numbers(spool) == [1, 2, 3, 4, 5]
    spool.acknowledge(3)
    by_id = {sealed.sequence: sealed.spool_id for sealed in drain(spool)}
    assert by_id[5] != name, "a number that was not committed is given under another id"
    clock.now += 3600
    before = drain(spool)
    spool.seal(batch(6))
    assert (spool.in_memory, spool.failing, spool.kept) == (False, False, 5)
    again = killed(spool, path)
    assert drain(again)[:4] == before
    assert (numbers(again), again.dropped) == ([1, 2, 4, 5, 6], 0)
    again.close()


def test_a_commit_that_failed_but_reached_the_disk_is_one_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    spool = make(path, monotonic=clock)
    real = SpoolFile.append

    def late(self: SpoolFile, *given):
        real(self, *given)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SpoolFile, "append", late)
    spool.seal(batch(1))
    monkeypatch.setattr(SpoolFile, "append", real)
    assert spool.in_memory
    in_memory = drain(spool)
    clock.now += 3600
    spool.seal(batch(2))
    assert numbers(spool) == [1, 2]
    again = killed(spool, path)
    assert drain(again)[:1] == in_memory
    assert (numbers(again), again.waiting) == ([1, 2], 2)
    again.close()


def test_a_disk_that_cannot_be_read_leaves_what_is_in_memory(path: Path) -> None:
    clock = Clock()
    spool = make(path, monotonic=clock)
    spool.seal(batch(1))
    with pytest.MonkeyPatch.context() as patch:
        fault(patch, "after", sqlite3.OperationalError("disk I/O error"))
        assert spool.after(0, 0) is None
        assert spool.failing
    assert spool.seal(batch(2)) == 2
    assert numbers(spool) == [2]
    clock.now += 3600
    spool.seal(batch(3))
    assert (numbers(spool), spool.dropped) == ([1, 2, 3], 0)
    spool.close()


def test_what_waited_in_memory_when_the_agent_was_killed_is_counted(path: Path) -> None:
    spool = make(path)
    spool.seal(batch(1))
    with pytest.MonkeyPatch.context() as patch:
        fault(patch, "append", sqlite3.OperationalError("disk I/O error"))
        for number in range(2, 5):
            spool.seal(batch(number))
    again = killed(spool, path)
    assert (numbers(again), again.dropped) == ([1], 3)
    assert again.seal(batch(9)) > 1
    again.close()


def test_a_file_that_can_be_opened_only_later_keeps_its_batches_and_takes_those_of_memory(path: Path) -> None:
    clock = Clock()
    first = make(path)
    for number in range(3):
        first.seal(batch(number))
    on_disk = drain(first)
    first.close()
    with pytest.MonkeyPatch.context() as patch:
        fault(patch, "open", sqlite3.OperationalError("unable to open database file"))
        spool = make(path, monotonic=clock)
        for number in range(2):
            spool.seal(batch(number))
        in_memory = drain(spool)
    opened = spool.reopened
    clock.now += 3600
    spool.seal(batch(7))
    assert spool.reopened == opened + 1, "the stream has to begin again"
    assert (spool.in_memory, drain(spool)[:5]) == (False, on_disk + in_memory)
    again = killed(spool, path)
    assert drain(again)[:5] == on_disk + in_memory
    assert (again.waiting, again.dropped) == (6, 0)
    again.close()


def test_a_folder_that_cannot_be_made_means_memory(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "file").write_text("")
    spool = make(folder / "file" / "spool.db")
    assert spool.in_memory
    assert spool.failing
    number = spool.seal(batch(1))
    assert numbers(spool) == [number]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    spool.close()


def test_without_rights_to_the_default_folder_there_is_memory() -> None:
    script = (
        "import os; from tests.support.spools import batch, make\n"
        "from node_agent.config import AgentSettings\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "spool = make(AgentSettings(host_name='no-rights').spool.path); spool.seal(batch(1))\n"
        "print(spool.in_memory, spool.failing, spool.waiting)"
    )
    root = Path(__file__).resolve().parents[3]
    out = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True", "True", "1"]
    assert out.stderr.count("\n") == 1, "one line on standard error"


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 4 MB; needs root."""
    made = folder / "small"
    made.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", made], check=False).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    yield made
    subprocess.run(["umount", "-l", made], check=True)


def test_a_full_disk_is_left_and_used_again(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    spool = make(small_disk / "spool.db", monotonic=clock)
    for number in range(100):
        spool.seal(batch(number, 50_000))
    assert spool.failing
    assert 10 < spool.kept < 100
    assert numbers(spool) == list(range(1, 101)), "what is on the full disk is still sent"
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 1
    for number in range(1, spool.kept + 1):
        spool.acknowledge(number)
    clock.now += 3600
    spool.seal(batch(100, 50_000))
    assert not spool.failing, "acknowledgements made room"
    for _ in range(3):
        clock.now += 3600
        spool.seal(batch(61))
    before = drain(spool)
    again = killed(spool, small_disk / "spool.db")
    assert drain(again) == before
    assert again.dropped == 0
    again.close()


def test_a_disk_that_becomes_read_only_is_left(small_disk: Path) -> None:
    spool = make(small_disk / "spool.db")
    spool.seal(batch(1))
    spool.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    again = make(small_disk / "spool.db")
    again.seal(batch(2))
    assert again.in_memory
    assert 2 not in numbers(again) or again.waiting
    again.close()
