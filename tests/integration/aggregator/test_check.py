"""`sonde aggregator --check`: one line a finding, exit code 0 or 1, and nothing is changed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.aggregators import ROOT, Aggregator, free_port
from tests.support.certificates import Authority, environment


def check(*arguments: str, **environment: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Exit code, name -> (verdict, text), and standard error."""
    ports = [f"--{name}-listen=127.0.0.1:{free_port()}" for name in ("grpc", "api", "sql")]
    done = subprocess.run(
        [sys.executable, "-m", "sonde", "aggregator", "--check", *ports, *arguments],
        cwd=ROOT, env=os.environ | {f"SONDE_AGGREGATOR__{key}": text for key, text in environment.items()},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition("  ")
        name, _, text = rest.strip().partition(": ")
        found[name] = (verdict, text)
    return done.returncode, found, done.stderr


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if not path.is_dir()
    }


def test_a_fresh_machine_is_good_and_stays_untouched(tmp_path: Path) -> None:
    code, found, _ = check("--store", f"chdb://{tmp_path}/new/store")
    assert code == 0
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert set(found) == {
        "configuration", "store", "schema", "disk", "journal", "grpc.listen", "api.listen", "sql.listen",
        "certificates", "sql token",
    }  # fmt: skip
    assert "will be created" in found["store"][1]
    assert "files will be applied" in found["schema"][1]
    assert not list(tmp_path.iterdir())


def test_each_fault_is_one_line_and_the_others_are_still_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, found, _ = check(
            "--store", f"chdb://{tmp_path}/file/store", f"--api-listen=127.0.0.1:{taken.getsockname()[1]}",
            GRPC__TLS__CERTIFICATE="/nowhere/a.pem", GRPC__TLS__KEY="/nowhere/a.key", GRPC__TLS__CA="/nowhere/ca.pem",
            SQL__TOKEN_FILE=str(token),
        )  # fmt: skip
    assert code == 1
    bad = {name: text for name, (verdict, text) in found.items() if verdict == "FAIL"}
    assert set(bad) == {"store", "journal", "api.listen", "certificates", "sql token"}
    assert "no folder" in bad["store"]
    assert "already in use" in bad["api.listen"]
    assert "/nowhere/a.pem" in bad["certificates"]
    assert "chmod 0640" in bad["sql token"]


@pytest.mark.parametrize("listen", ["203.0.113.7:7443", "0.0.0.0:7443"])
def test_an_address_of_another_machine_and_one_without_certificates(tmp_path: Path, listen: str) -> None:
    code, found, _ = check("--store", f"chdb://{tmp_path}/store", "--grpc-listen", listen)
    assert code == 1
    assert found["certificates"][0] == "FAIL"
    assert found["grpc.listen"][0] == ("FAIL" if listen.startswith("203") else found["grpc.listen"][0])


def test_a_wrong_setting_is_a_finding(tmp_path: Path) -> None:
    config = tmp_path / "aggregator.yml"
    config.write_text("grpc: {listne: 1}\n")
    code, found, error = check("--config", str(config))
    assert code == 1
    assert found == {"configuration": ("FAIL", found["configuration"][1])}
    assert "grpc.listne" in found["configuration"][1]
    assert not error


def test_a_store_that_is_there_held_and_behind_a_server(tmp_path: Path) -> None:
    aggregator = Aggregator(tmp_path).start()
    store = f"chdb://{tmp_path}/store"
    try:
        code, found, _ = check("--store", store)
        assert code == 1
        assert aggregator.process is not None
        assert f"held by process {aggregator.process.pid}" in found["store"][1]
        assert found["schema"][0] == "ok"  # told from a copy
        _, found, _ = check("--store", f"clickhouse://127.0.0.1:{aggregator.sql}/sonde")
        assert found["store"][0] == "ok"
        assert found["schema"][1].startswith("all ")
    finally:
        aggregator.stop()
    before = files(tmp_path)
    code, found, _ = check("--store", store)
    assert code == 0
    assert found["schema"][1].startswith("all ")
    assert files(tmp_path) == before
    description = next(tmp_path.glob("store/store/*/*/schema_migrations.sql"))
    description.write_text("nonsense")
    code, found, _ = check("--store", store)
    assert code == 1
    assert found["schema"][0] == "FAIL"


def test_certificates_that_are_good_and_expired(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    for name, days, verdict in (("good", 10.0, "ok"), ("old", 0.5 / 86_400, "FAIL")):
        certificate = authority.aggregator(name=name, days=days)
        while days < 1 and certificate.stat().st_mtime + 1 > time.time():
            time.sleep(0.1)
        of = {key: text for key, text in environment(certificate, authority.ca).items() if "HANDSHAKE" not in key}
        code, found, _ = check("--store", f"chdb://{tmp_path}/store", **of)
        assert found["certificates"][0] == verdict, found["certificates"]
        assert code == (verdict == "FAIL")
    assert "expired" in found["certificates"][1]
