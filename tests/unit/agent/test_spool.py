"""The spool as it is meant to be used, killed and restarted. The model in test_spool_model.py mixes everything."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from node_agent.delivery import spool_file
from node_agent.delivery.spool import Spool
from node_agent.delivery.spool_file import SpoolFile
from sonde.errors import SpoolError
from tests.support.spools import batch, drain, killed, make, numbers


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


def test_forgotten_batches_are_deleted_before_they_are_too_many(path: Path) -> None:
    spool: Spool = make(path)
    for number in range(spool_file._GONE_AT_ONCE + 10):
        spool.seal(batch(number))
    for sealed in drain(spool):
        spool.acknowledge(sealed.sequence)
    again = killed(spool, path)
    assert again.waiting == 10
    again.close()
