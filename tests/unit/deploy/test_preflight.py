"""The look at a host: what it says of hosts that lack something. Nothing here needs root."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[3] / "deploy/ansible/roles/sonde_common/files/preflight.py"


def look(**questions: Any) -> dict[str, dict[str, Any]]:
    """Name -> finding, as the playbook gets them: the script through standard input."""
    asked = {"python": sys.executable, "now": time.time(), "skew": 60, **questions}
    done = subprocess.run(
        [sys.executable, "-", json.dumps(asked)], input=SCRIPT.read_text(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_an_old_kernel() -> None:
    found = look(kernel=[99, 0])["kernel"]
    assert not found["good"]
    assert "needs Linux 99.0 or newer" in found["line"]


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    assert "is 3.9. Sonde needs 3.10 or newer" in look(python=str(old))["Python"]["sentence"]


def test_a_python_that_a_package_will_bring(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert not look(python=absent)["Python"]["good"]
    assert look(python=absent, packages_bring_python=True)["Python"]["good"]


def test_a_full_disk(tmp_path: Path) -> None:
    place = str(tmp_path / "not" / "yet")
    assert look(folders={place: 1})[f"disk {place}"]["good"]
    found = look(folders={place: 1 << 60})[f"disk {place}"]
    assert "MB are needed: make room" in found["sentence"].replace("Make", "make")


def test_a_clock_that_is_wrong() -> None:
    found = look(now=time.time() - 4000)["clock"]
    assert not found["good"]
    assert "chrony" in found["sentence"]


def test_a_name_that_is_none() -> None:
    found = look(aggregators=["no-such-host.invalid:7443"])["name no-such-host.invalid"]
    assert "DNS or /etc/hosts" in found["sentence"].replace("Mend", "mend")


def test_an_aggregator_that_is_down_and_one_that_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert look(aggregators=[address])[f"aggregator {address}"]["good"]
    found = look(aggregators=[address])[f"aggregator {address}"]
    assert not found["good"]
    assert "deploy-aggregator.yml" in found["sentence"]


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        found = look(listens=[address])[f"port {address}"]
    assert not found["good"]
    assert "ss -ltnp" in found["sentence"]
    assert look(listens=[address])[f"port {address}"]["good"]


def test_each_probe_is_reported_on_its_own() -> None:
    found = look(probes={"real": ["sys_enter_read"], "odd": ["no_such_tracepoint|nor_this"]})
    if not found["tracefs"]["good"]:
        return  # this machine shows no tracefs: that line is all there is
    assert found["probe real"]["good"]
    assert not found["probe odd"]["required"]
    assert "no_such_tracepoint or nor_this" in found["probe odd"]["line"]
    assert found["probes"]["good"]
    assert not look(probes={"odd": ["no_such_tracepoint"]})["probes"]["good"]
