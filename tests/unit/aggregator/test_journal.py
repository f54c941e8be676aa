"""The journal's files, one failure a test; any sequence of them is in test_journal_model.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from aggregator.ingest.journal import Journal
from sonde.errors import JournalError


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal(journal.folder)


def contents(journal: Journal) -> list[tuple[str, bytes]]:
    return list(journal.replay())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "store.journal")
    for number in range(3):
        made.append(f"b{number}", bytes([number]) * 1000)
    return made


def test_blocks_come_again_in_order_until_they_are_forgotten(journal: Journal) -> None:
    journal.forget("b1")
    journal = reopened(journal)
    assert contents(journal) == [("b0", b"\0" * 1000), ("b2", b"\2" * 1000)]
    journal.append("b3", b"")
    journal = reopened(journal)
    assert [identity for identity, _ in contents(journal)] == ["b0", "b2", "b3"]
    assert (journal.folder.stat().st_mode & 0o777, journal.set_aside) == (0o700, 0)


@pytest.mark.parametrize("place", [0, 8, 30, 500, 4095, 4096, 4500, -1])
def test_a_bad_byte_in_one_copy_costs_nothing(journal: Journal, place: int) -> None:
    before = contents(journal)
    path = journal._files["b1"]
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    assert contents(reopened(journal)) == before


def test_a_block_damaged_in_both_copies_is_set_aside_and_counted(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    path = journal._files["b1"]
    path.write_bytes(path.read_bytes()[:900])
    journal = reopened(journal)
    assert [identity for identity, _ in contents(journal)] == ["b0", "b2"]
    assert journal.set_aside == 1
    assert not path.exists()
    assert path.with_suffix(".damaged").exists()
    assert "is damaged" in caplog.text
    assert len(contents(reopened(journal))) == 2


def test_few_damaged_blocks_are_kept(journal: Journal) -> None:
    for number in range(3, 9):
        journal.append(f"b{number}", b"x")
    for number in range(9):
        journal.put_aside(f"b{number}", "is a test")
    assert len(list(journal.folder.iterdir())) == 3
    assert journal.set_aside == 9


def test_an_unfinished_record_is_removed(journal: Journal) -> None:
    left = journal.folder / "0000000000000009-b9.tmp"
    left.write_bytes(journal._files["b0"].read_bytes())
    journal = reopened(journal)
    assert len(contents(journal)) == 3
    assert not left.exists()


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_what_the_disk_refuses_is_not_there_afterwards(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "rename" else os, call, full)
        with pytest.raises(JournalError, match="No space left on device; free space"):
            journal.append("b3", b"x" * 100)
    assert len(list(journal.folder.iterdir())) == 3
    assert len(journal) == 3
    journal.append("b3", b"x" * 100)
    assert len(contents(reopened(journal))) == 4


def test_a_record_that_cannot_be_taken_back_counts_as_written(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync of the folder fails, and so does the removal: after a restart it would be inserted."""

    def failing(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    sync = os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: failing() if file == journal._directory else sync(file))
        patch.setattr(Path, "unlink", failing)
        journal.append("b3", b"x")
        journal.forget("b0")  # stays, and is no failure
    assert [identity for identity, _ in contents(reopened(journal))] == ["b0", "b1", "b2", "b3"]


def test_one_process_uses_it(journal: Journal) -> None:
    with pytest.raises(JournalError, match="another aggregator"):
        Journal(journal.folder)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"storage\.journal"):
        Journal(tmp_path / "file" / "journal")
