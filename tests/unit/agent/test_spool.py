"""The spool, one failure at a time. The model in test_spool_model.py mixes them."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.delivery import spool_file, spool_mark
from node_agent.delivery.spool import Spool
from node_agent.delivery.spool_file import SpoolFile
from sonde.errors import SpoolError
from tests.support.spools import batch, drain, kill, killed, make, numbers


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "spool.db"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def fault(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(SpoolFile, name, refuse)


@pytest.mark.parametrize("on_disk", [True, False])
def test_batches_come_in_order_and_acknowledged_ones_never_again(on_disk: bool, path: Path) -> None:
    spool = make(path if on_disk else "")
    assert [spool.seal(batch(number)) for number in range(5)] == [1, 2, 3, 4, 5]
    assert numbers(spool) == [1, 2, 3, 4, 5]
    spool.acknowledge(2)
    spool.acknowledge(2)
    assert numbers(spool) == [1, 3, 4, 5]
    assert (spool.acknowledged, spool.waiting) == (1, 4)
    assert spool.in_memory != on_disk
    for number in (1, 3, 4, 5):
        spool.acknowledge(number)
    assert spool.wait_empty(0)
    assert spool.waiting_bytes == 0
    spool.close()


def test_a_restart_goes_on_with_id_numbers_and_bytes(path: Path) -> None:
    spool = make(path)
    for number in range(4):
        spool.seal(batch(number))
    spool.acknowledge(1)
    before, name = [sealed.SerializeToString() for sealed in drain(spool)], spool.id
    spool.close()
    again = make(path)
    assert again.id == name
    assert [sealed.SerializeToString() for sealed in drain(again)] == before
    assert again.seal(batch(9)) == 5
    assert again.dropped == 0
    again.close()


def test_numbers_go_on_after_everything_was_acknowledged(path: Path) -> None:
    spool = make(path)
    spool.acknowledge(spool.seal(batch(1)))
    name = spool.id
    spool.close()
    again = make(path)
    assert (again.id, again.waiting, again.seal(batch(2))) == (name, 0, 2)
    again.close()


def test_a_killed_agent_loses_no_batch_and_no_number(path: Path) -> None:
    spool = make(path)
    for number in range(3):
        spool.seal(batch(number))
    before, name = drain(spool), spool.id
    again = killed(spool, path)
    assert (again.id, drain(again), again.seal(batch(9)), again.dropped) == (name, before, 4, 0)
    again.close()


def test_an_acknowledgement_before_a_kill_may_be_repeated_but_not_the_number(path: Path) -> None:
    spool = make(path)
    spool.acknowledge(spool.seal(batch(1)))
    again = killed(spool, path)
    assert numbers(again) == [1]
    assert again.seal(batch(2)) == 2
    again.close()


def test_a_lost_end_of_the_log_gives_no_number_twice_and_is_counted(path: Path) -> None:
    spool = make(path)
    spool.seal(batch(0))
    spool.close()
    spool = make(path)
    for number in range(4):
        spool.seal(batch(number))
    log = Path(f"{path}-wal")
    size = log.stat().st_size
    name = spool.id
    kept = log.read_bytes()[: size // 2]
    files = {file: file.read_bytes() for file in path.parent.iterdir()}
    spool.close()
    for file, content in files.items():
        file.write_bytes(content)
    log.write_bytes(kept)
    again = make(path)
    left = numbers(again)
    assert left == list(range(1, len(left) + 1))
    assert len(left) < 5
    assert again.dropped == 5 - len(left)
    assert (again.id, again.seal(batch(9))) == (name, 6)
    again.close()


@pytest.mark.parametrize("why", ["no mark", "damaged mark", "power failure"])
def test_where_the_last_number_is_not_known_the_id_is_another(
    why: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(path)
    spool.seal(batch(1))
    before, name = drain(spool), spool.id
    mark = Path(f"{path}.lock")
    files = {file: file.read_bytes() for file in path.parent.iterdir()}
    spool.close()
    for file, content in files.items():
        file.write_bytes(content)
    if why == "no mark":
        mark.unlink()
    elif why == "damaged mark":
        mark.write_bytes(b"x" * 65)
    else:
        monkeypatch.setattr(spool_mark, "boot_id", lambda: b"another boot id!")
    again = make(path)
    assert again.id != name
    assert drain(again) == before, "what was sealed keeps its own id"
    assert again.seal(batch(2)) == 2
    assert drain(again)[-1].spool_id == again.id
    again.close()


def test_a_number_is_noted_before_its_batch_is_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make(path)
    real, noted = SpoolFile.append, []

    def look(self: SpoolFile, *given):
        known = self._mark.read()
        assert known is not None
        noted.append((known.spool_id, known.last))
        return real(self, *given)

    monkeypatch.setattr(SpoolFile, "append", look)
    spool.seal(batch(1))
    spool.seal(batch(2))
    assert noted == [(spool.id, 1), (spool.id, 2)]
    spool.close()


@pytest.mark.parametrize("on_disk", [True, False])
def test_beyond_the_bytes_the_oldest_go_first_and_are_counted(on_disk: bool, path: Path) -> None:
    spool = make(path if on_disk else "", max_bytes=5_000)
    for number in range(50):
        spool.seal(batch(number, 400))
    left = numbers(spool)
    assert left == list(range(51 - len(left), 51))
    assert (spool.dropped, spool.waiting) == (50 - len(left), len(left))
    assert 0 < spool.waiting_bytes <= 5_000
    assert spool.seal(batch(99, 20_000)) == 51
    assert numbers(spool) == [51], "one batch is always kept, whatever its size"
    spool.close()


@pytest.mark.parametrize("on_disk", [True, False])
def test_too_old_batches_are_dropped_and_counted(on_disk: bool, path: Path) -> None:
    clock = Clock()
    spool = make(path if on_disk else "", max_age_seconds=60, clock=clock)
    spool.seal(batch(1))
    clock.now += 40
    spool.seal(batch(2))
    clock.now += 40
    spool.seal(batch(3))
    assert (numbers(spool), spool.dropped) == ([2, 3], 1)
    clock.now -= 3600
    spool.seal(batch(4))
    assert (numbers(spool), spool.dropped) == ([2, 3, 4], 1), "a clock set back drops nothing"
    spool.close()


def test_the_file_shrinks_again(path: Path) -> None:
    spool = make(path)
    for number in range(64):
        spool.seal(batch(number, 150_000))
    spool.close()
    full = path.stat().st_size
    spool = make(path)
    for number in range(1, 65):
        spool.acknowledge(number)
    for number in range(30):
        spool.acknowledge(spool.seal(batch(number)))
    spool.close()
    assert full > 9_000_000
    assert path.stat().st_size < full / 1.5
    assert not Path(f"{path}-wal").exists()


def test_a_refused_batch_is_quarantined_and_blocks_nothing(path: Path) -> None:
    spool = make(path, quarantine_bytes=2_000)
    for number in range(8):
        spool.seal(batch(number, 500))
    for number in range(1, 8):
        spool.refuse(number, "MALFORMED", f"reason {number}")
    spool.refuse(1, "MALFORMED", "again")
    assert (numbers(spool), spool.refused, spool.acknowledged) == ([8], 7, 0)
    kept = spool.quarantined
    assert 0 < kept < 7
    spool.close()
    with sqlite3.connect(path) as sql:
        rows = sql.execute("SELECT code, message, length(sealed) FROM quarantine ORDER BY number").fetchall()
    sql.close()
    assert [row[:2] for row in rows] == [("MALFORMED", f"reason {number}") for number in range(8 - kept, 8)]
    assert sum(row[2] for row in rows) <= 2_000
    again = make(path)
    assert (again.quarantined, numbers(again)) == (kept, [8])
    again.close()


def test_used_up_numbers_lead_to_another_id(path: Path) -> None:
    spool = make(path)
    before = spool.id
    spool.refuse(spool.seal(batch(1)), "CHANGED_CONTENT", "accepted before with other content")
    spool.seal(batch(2))
    assert drain(spool)[0].spool_id == spool.id != before
    spool.close()


def test_two_agents_cannot_use_one_file(path: Path) -> None:
    spool = make(path)
    with pytest.raises(SpoolError, match=rf"in use by process {os.getpid()}; .*--spool-path") as told:
        make(path)
    assert "\n" not in str(told.value)
    other = make(path.with_name("other.db"))
    other.close()
    spool.close()
    make(path).close()


def test_file_and_folder_are_private(folder: Path) -> None:
    old = os.umask(0)
    try:
        path = folder / "sonde" / "agent" / "spool.db"
        spool = make(path)
        spool.seal(batch(1))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {"spool.db": 0o600, "spool.db-wal": 0o600, "spool.db.lock": 0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        spool.close()
    finally:
        os.umask(old)


def test_a_link_is_not_followed(folder: Path) -> None:
    target = folder / "precious"
    target.write_text("precious")
    (folder / "spool.db").symlink_to(target)
    spool = make(folder / "spool.db")
    assert spool.failing
    assert target.read_text() == "precious"
    spool.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"not a database" * 1000,
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:100] + bytes(4096) + raw[4196:],
        lambda raw: raw[:18] + b"\x09\x09" + raw[20:],
    ],
    ids=["emptied", "other content", "cut", "zeros", "unknown format"],
)
def test_a_damaged_file_is_set_aside_and_its_batches_counted(
    damage, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = make(path)
    for number in range(20):
        spool.seal(batch(number, 2_000))
    spool.acknowledge(1)
    name = spool.id
    spool.close()
    path.write_bytes(damage(path.read_bytes()))
    caplog.clear()
    again = make(path)
    assert (again.id != name, numbers(again), again.dropped, again.in_memory) == (True, [], 19, False)
    if again.set_aside:
        assert [file.name for file in path.parent.glob("spool.db.aside-*") if "wal" not in file.name]
        assert sum("set aside" in record.message for record in caplog.records) == 1
    again.seal(batch(1))
    assert [sealed.spool_id for sealed in drain(again)] == [again.id]
    again.close()


def test_a_file_that_is_damaged_while_in_use_is_set_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make(path)
    spool.seal(batch(1))
    name = spool.id
    real = SpoolFile.append
    errors = [sqlite3.DatabaseError("database disk image is malformed")]

    def once(self: SpoolFile, *given):
        if errors:
            raise errors.pop()
        return real(self, *given)

    monkeypatch.setattr(SpoolFile, "append", once)
    spool.seal(batch(2))
    assert (numbers(spool), spool.dropped, spool.set_aside, spool.in_memory) == ([2], 1, 1, False)
    assert spool.id != name
    assert drain(spool)[0].spool_id == name, "its commit may have reached the disk: it keeps its id"
    assert spool.seal(batch(3)) == 3
    again = killed(spool, path)
    assert numbers(again) == [2, 3]
    again.close()


def test_a_deleted_file_is_begun_anew_at_once(path: Path) -> None:
    spool = make(path)
    spool.seal(batch(1))
    path.unlink()
    spool.seal(batch(2))
    assert (numbers(spool), spool.dropped, spool.in_memory) == ([2], 1, False)
    again = killed(spool, path)
    assert numbers(again) == [2]
    again.close()


@pytest.mark.parametrize("stopped", [False, True])
def test_acknowledged_batches_of_a_deleted_file_are_not_counted_as_lost(path: Path, stopped: bool) -> None:
    spool = make(path)
    for number in range(5):
        spool.seal(batch(number))
    for sequence in (1, 2, 3):
        spool.acknowledge(sequence)
    if stopped:
        kill(spool, path, path)
        Path(f"{path}-wal").unlink()
    path.unlink()
    if stopped:
        spool = make(path)
    spool.seal(batch(9))
    assert (spool.dropped, spool.waiting) == (2, 1)
    spool.close()


def test_few_damaged_files_are_kept(path: Path) -> None:
    for _ in range(6):
        spool = make(path)
        spool.close()
        path.write_bytes(b"nonsense" * 100)
    make(path).close()
    assert len(list(path.parent.glob("spool.db.aside-*"))) == 3


def test_a_damaged_batch_is_dropped_and_the_next_is_sent(path: Path) -> None:
    spool = make(path)
    for number in range(3):
        spool.seal(batch(number, 1000))
    sealed = drain(spool)[1].SerializeToString()
    spool.close()
    raw = path.read_bytes()
    place = raw.index(sealed[40:200])
    path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    again = make(path)
    assert (numbers(again), again.dropped, again.set_aside) == ([1, 3], 1, 0)
    again.seal(batch(4))
    assert (again.waiting, numbers(again)) == (3, [1, 3, 4])
    again.close()


def test_the_file_of_another_host_is_set_aside(path: Path) -> None:
    spool = make(path, agent="old-name")
    spool.seal(batch(1))
    spool.close()
    again = make(path, agent="new-name")
    assert (numbers(again), again.dropped, again.set_aside) == ([], 1, 1)
    again.close()


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


def test_a_waiting_reader_gets_what_another_thread_seals(path: Path) -> None:
    spool = make(path)
    got: list[int] = []

    def read() -> None:
        after = 0
        while after < 200 and (sealed := spool.after(after, 10)) is not None:
            after = sealed.sequence
            got.append(after)
            spool.acknowledge(after)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        spool.seal(batch(number))
    assert spool.wait_empty(10)
    reader.join()
    assert got == list(range(1, 201))
    spool.close()


def test_reading_does_not_load_the_file_into_memory(path: Path) -> None:
    spool = make(path)
    for number in range(20):
        spool.seal(batch(number, 500_000))
    spool.close()
    script = (
        "import resource, sys; from tests.support.spools import make\n"
        "spool = make(sys.argv[1]); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; after = 0\n"
        "while (sealed := spool.after(after, 0)) is not None: after = sealed.sequence\n"
        "print(after, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    root = Path(__file__).resolve().parents[3]
    out = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, check=True)
    last, kilobytes = map(int, out.stdout.split())
    assert last == 20
    assert kilobytes < 8_000, "20 batches are 10 MB"


SEALER = """
import sys, time
from tests.support.spools import batch, make
spool = make(sys.argv[1], max_bytes=200_000)
print(spool.id.hex(), spool.dropped, flush=True)
while True:
    number = spool.seal(batch(0, 3_000))
    print(number, flush=True)
    if number % 3 == 0:
        spool.acknowledge(number - 1)
"""


def test_sigkill_at_any_moment_leaves_a_spool_that_goes_on(path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    highest, name = 0, ""
    for attempt in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", SEALER, path], cwd=root, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            identity, dropped = child.stdout.readline().split()
            time.sleep(0.02 + 0.013 * attempt)
            child.kill()
            said = [int(line) for line in child.stdout.read().split("\n")[:-1]]
        assert identity == (name or identity)
        assert int(dropped) <= 1, "at most the one that was being sealed"
        name = identity
        if said:
            assert said == list(range(said[0], said[-1] + 1))
            assert said[0] > highest
            highest = said[-1]
    spool = make(path)
    left = numbers(spool)
    assert highest in left
    assert left == sorted(set(left))
    assert max(left) <= highest + 1
    spool.close()


def test_sealing_is_cheap(path: Path) -> None:
    spool = make(path)
    made = [batch(number, 20_000) for number in range(50)]
    began = time.perf_counter()
    for one in made:
        spool.seal(one)
    assert (time.perf_counter() - began) / 50 < 0.1, "seconds a batch; a few ms are usual"
    spool.close()


def test_the_layout_of_a_newer_agent_is_not_touched(path: Path) -> None:
    make(path).close()
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version=99")
    sql.close()
    spool = make(path)
    assert spool.set_aside == 1
    spool.close()


def test_forgotten_batches_are_deleted_before_they_are_too_many(path: Path) -> None:
    spool: Spool = make(path)
    for number in range(spool_file._GONE_AT_ONCE + 10):
        spool.seal(batch(number))
    for sealed in drain(spool):
        spool.acknowledge(sealed.sequence)
    again = killed(spool, path)
    assert again.waiting == 10
    again.close()
