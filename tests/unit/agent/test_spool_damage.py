"""Files that are damaged, cut, deleted, or of somebody else: set aside, counted, begun anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from node_agent.delivery import spool_mark
from node_agent.delivery.spool_file import SpoolFile
from tests.support.spools import batch, drain, kill, killed, make, numbers


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


def test_opening_writes_nothing_so_that_a_damaged_end_of_the_log_stays_lost(path: Path) -> None:
    spool = make(path)
    spool.seal(batch(0))
    spool = killed(spool, path)  # what opening writes would be in the log from here on
    begin = Path(f"{path}-wal").stat().st_size
    for number in range(1, 4):
        spool.seal(batch(number))
    kill(spool, path, path)
    log = Path(f"{path}-wal")
    raw = bytearray(log.read_bytes())
    raw[begin + 1000] ^= 1
    log.write_bytes(raw)
    spool = make(path)
    assert log.read_bytes() == raw
    left = numbers(spool)
    assert (spool.dropped, left) == (4 - len(left), [1])
    again = killed(spool, path)
    assert numbers(again) == left, "came again"
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


def test_the_layout_of_a_newer_agent_is_not_touched(path: Path) -> None:
    make(path).close()
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version=99")
    sql.close()
    spool = make(path)
    assert spool.set_aside == 1
    spool.close()
