"""Words to systemd: they arrive, and nothing fails where nobody listens."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sonde.notify import Watchdog, notify


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    place = tmp_path / "notify"
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(place))
    channel.settimeout(10)
    monkeypatch.setenv("NOTIFY_SOCKET", str(place))
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    return channel


def test_assignments_arrive_as_one_message(heard: socket.socket) -> None:
    with heard:
        assert notify("READY=1", "STATUS=two words")
        assert heard.recv(1000) == b"READY=1\nSTATUS=two words"


def test_an_abstract_socket_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0sonde-test-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@sonde-test-{os.getpid()}")
        assert notify("READY=1")
        assert channel.recv(100) == b"READY=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "absent"))
    assert not notify("READY=1")


def test_the_watchdog_beats_three_times_an_interval(heard: socket.socket) -> None:
    with heard:
        watchdog = Watchdog()
        assert watchdog.seconds == 1
        watchdog.beat()
        watchdog.beat()
        assert heard.recv(100) == b"WATCHDOG=1"
        heard.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard.recv(100)


def test_the_watchdog_of_another_process_is_not_ours(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    with heard:
        monkeypatch.setenv("WATCHDOG_PID", "1")
        assert Watchdog().seconds == 0
