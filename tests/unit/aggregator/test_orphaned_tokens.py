"""A token whose part is not on the disk is dropped, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.storage import orphaned_tokens

TABLE = "store/f4b/f4be2eb3"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    logs = tmp_path / TABLE / "deduplication_logs"
    logs.mkdir(parents=True)
    return logs / "deduplication_log_1.txt"


def parts(log: Path, *names: str) -> None:
    for name in names:
        (log.parent.parent / name).mkdir()


def test_tokens_of_parts_on_disk_stay_whether_merged_or_not(log: Path, tmp_path: Path) -> None:
    parts(log, "20261121_1_3_1", "20261121_4_4_0", "20261122_5_5_0_9", "all_1_1_0", "detached")
    lines = [f"1\t20261121_{n}_{n}_0\t20261121_{n}7_{n}8\n" for n in range(1, 5)]
    lines += ["1\t20261122_5_5_0\t20261122_1_2\n", "1\tall_1_1_0\tall_1_2\n", "2\t20261121_9_9_0\t20261121_1_2\n"]
    log.write_text("".join(lines))
    before = log.stat().st_ino
    assert orphaned_tokens.remove(tmp_path) == 0
    assert (log.read_text(), log.stat().st_ino) == ("".join(lines), before)


def test_tokens_without_their_part_go(log: Path, tmp_path: Path) -> None:
    parts(log, "20261121_1_3_1", "20261122_4_4_0", "tmp_insert_20261121_4_4_0", "delete_tmp_20261121_5_5_0")
    kept = "1\t20261121_2_2_0\t20261121_1_1\n"
    log.write_text(kept + "1\t20261121_4_4_0\t20261121_2_2\n1\t20261121_5_5_0\t20261121_3_3\n1\t20261121_6_")
    assert orphaned_tokens.remove(tmp_path) == 3
    assert log.read_text() == kept
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_a_store_that_is_new_has_none(tmp_path: Path) -> None:
    assert orphaned_tokens.remove(tmp_path / "none") == 0
