"""The demo starts, watches and removes its parts. Sonde's own programs are stand-ins; the servers are real."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.targets import netns
from tests.targets.process import ROOT

pytestmark = pytest.mark.skipif(bool(netns.available()), reason=netns.available() or "root")

OFFSET = 20_000
DATA = ROOT / ".sonde" / f"demo-{OFFSET}"
LABEL = "sonde-demo"

STAND_IN = """#!{python}
import http.server, os, sys, threading, time
name, options = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
if name == "doctor":
    sys.exit(0)
if name == os.environ.get("FAILS"):
    time.sleep(1)
    sys.exit("the stand-in fails as asked")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"data": [["7"]]}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
for option, text in options.items():
    if option.endswith("listen"):
        host, _, port = text.rpartition(":")
        threading.Thread(target=http.server.HTTPServer((host, int(port)), Handler).serve_forever, daemon=True).start()
print(name, "runs", flush=True)
time.sleep(600)
"""
STARTER = """
import sys
from pathlib import Path
from deploy.demo import parts, workdir
parts.SONDE = sys.argv[1]
workdir.CACHE = Path(sys.argv[2])
from deploy.demo.__main__ import main
main(sys.argv[3:], prog_name="demo")
"""


@contextmanager
def demo(folder: Path, *arguments: str, fails: str = "") -> Iterator[subprocess.Popen[str]]:
    stand_in = folder / "sonde"
    stand_in.write_text(STAND_IN.format(python=sys.executable))
    stand_in.chmod(0o755)
    argv = [sys.executable, "-c", STARTER, str(stand_in), str(folder / "cache"), f"--port-offset={OFFSET}", *arguments]
    child = subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "FAILS": fails, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def read_until(child: subprocess.Popen[str], text: str) -> str:
    assert child.stdout is not None
    told = ""
    for line in child.stdout:
        told += line
        if text in line:
            return told
    raise AssertionError(f"{text!r} was not printed:\n{told}")


def left(pid: int) -> list[str]:
    """What a demo with this pid left behind."""
    found = [path.name for path in netns.RUN_NETNS.glob(f"{LABEL}-{pid}-*")]
    found += [str(path) for path in (Path(tempfile.gettempdir()) / f"{LABEL}-{pid}", DATA) if path.exists()]
    return found


def test_runs_for_the_seconds_asked_and_removes_all(tmp_path: Path) -> None:
    begin = time.monotonic()
    with demo(tmp_path, "--seconds", "2") as child:
        told, _ = child.communicate(timeout=60)
        assert child.returncode == 0, told
        assert time.monotonic() - begin < 30
        assert f"http://127.0.0.1:{8050 + OFFSET}" in told
        assert told.count(".venv/bin/sonde sql --url") == 3
        assert left(child.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_removes_all(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as child:
        read_until(child, "running")
        inside = [pid for path in netns.RUN_NETNS.glob(f"{LABEL}-{child.pid}-*") for pid in netns.pids(path.name)]
        assert len(inside) >= 5
        child.send_signal(number)
        told, _ = child.communicate(timeout=30)
        assert child.returncode == 0
        assert "stopped" in told
        assert left(child.pid) == []
        assert not [pid for pid in inside if Path(f"/proc/{pid}").exists()]


def test_a_part_that_ends_stops_all_and_shows_its_log(tmp_path: Path) -> None:
    with demo(tmp_path, fails="agent") as child:
        told, _ = child.communicate(timeout=60)
        assert child.returncode == 1
        assert re.search(r"agent-(web|app|db) ended with 1", told), "all three fail at once: any can be the first seen"
        assert "the stand-in fails as asked" in told
        assert left(child.pid) == []


def test_leftovers_of_a_killed_demo_are_removed_by_the_next(tmp_path: Path) -> None:
    with demo(tmp_path) as killed:
        read_until(killed, "running")
        killed.kill()
        killed.wait()
        assert left(killed.pid)
    with demo(tmp_path, "--seconds", "0.1") as child:
        told, _ = child.communicate(timeout=60)
        assert child.returncode == 0, told
        assert "left by a demo that was killed" in told
        assert left(killed.pid) == left(child.pid) == []


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 8050 + OFFSET)), demo(tmp_path) as child:
        told, _ = child.communicate(timeout=30)
        assert child.returncode == 1
        assert f"port {8050 + OFFSET} is taken" in told
        assert "--port-offset" in told
        assert left(child.pid) == []
