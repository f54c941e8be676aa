"""The helper that switches the kernel's statistics on: one descriptor an answer, or an empty one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.kernel import statistics, syscall
from sonde.errors import KernelError


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A helper for one connection."""
    path = tmp_path / "statistics.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=statistics.answer, args=(listening,))
        thread.start()
        yield path
        thread.join(10)


def test_the_descriptor_arrives(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = os.open(tmp_path / "stands-for-it", os.O_CREAT | os.O_RDWR)
    inode = os.fstat(made).st_ino
    monkeypatch.setattr(statistics, "enable", lambda: made)
    descriptor = statistics.ask(place)
    assert os.fstat(descriptor).st_ino == inode
    os.close(descriptor)


def test_a_refusal_is_an_empty_answer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(statistics, "enable", refuse)
    with pytest.raises(OSError, match="no descriptor to give"):
        statistics.ask(place)


def test_without_right_and_helper_the_error_names_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse() -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(statistics, "enable", refuse)
    monkeypatch.setattr(statistics.ask, "__defaults__", (tmp_path / "absent",))
    with pytest.raises(KernelError, match=r"CAP_SYS_ADMIN, or the unit sonde-agent-statistics\.socket"):
        syscall.enable_statistics()


def test_it_is_not_started_by_hand() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node_agent.kernel.statistics"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "sonde-agent-statistics.socket" in done.stderr


def test_the_helper_stays_small() -> None:
    code = "import sys, node_agent.kernel.statistics; sys.exit('numpy' in sys.modules or 'grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
