"""`sonde agent --check`: one line a finding, exit code 0 or 1, and nothing is changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from node_agent import check as examination
from node_agent.commands import agent
from tests.support.aggregators import free_port
from tests.support.certificates import Authority
from tests.support.spools import make


@pytest.fixture
def aggregator() -> Iterator[str]:
    """Somebody who speaks gRPC."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def check(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and name -> (verdict, text)."""
    given = ["--check", f"--metrics-listen=127.0.0.1:{free_port()}", *arguments]
    done = CliRunner().invoke(
        agent, given, env={f"SONDE_AGENT__{key}": one for key, one in (environment or {}).items()}
    )
    found = {}
    for line in done.output.splitlines():
        verdict, _, rest = line.partition("  ")
        name, _, text = rest.strip().partition(": ")
        found[name] = (verdict, text)
    return done.exit_code, found


def test_a_fresh_host_is_good_and_stays_untouched(tmp_path: Path, aggregator: str) -> None:
    code, found = check(f"--spool-path={tmp_path}/new/spool.db", f"--aggregator={aggregator}", "--host-name=web-1")
    assert code == 0, found
    assert set(found) == {
        "configuration", "host name", "scope", "spool", "metrics.listen", "certificates", "aggregator",
    }  # fmt: skip
    assert found["host name"] == ("ok", "web-1")
    assert "will be created" in found["spool"][1]
    assert not list(tmp_path.iterdir())


def test_one_of_several_aggregators_is_enough(tmp_path: Path, aggregator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_PATIENCE_S", 2.0)
    nobody = f"127.0.0.1:{free_port()}"
    spool = f"--spool-path={tmp_path}/spool.db"
    code, found = check(spool, f"--aggregator={nobody},{aggregator}")
    assert code == 0
    assert f"not {nobody}" in found["aggregator"][1]
    monkeypatch.setattr(examination, "_PATIENCE_S", 0.2)
    code, found = check(spool, f"--aggregator={nobody}")
    assert code == 1
    assert found["aggregator"][0] == "FAIL"


def test_each_fault_is_one_line_and_the_others_are_still_looked_at(tmp_path: Path, aggregator: str) -> None:
    spool = make(tmp_path / "spool.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, found = check(
            f"--spool-path={tmp_path}/spool.db", f"--aggregator={aggregator}", "--scope-netns=/run/netns/nowhere",
            f"--metrics-listen=127.0.0.1:{taken.getsockname()[1]}",
        )  # fmt: skip
    spool.close()
    assert code == 1
    bad = {name: text for name, (verdict, text) in found.items() if verdict == "FAIL"}
    assert set(bad) == {"scope", "spool", "metrics.listen"}
    assert "another agent" in bad["spool"]
    assert "nowhere" in bad["scope"]
    assert "already in use" in bad["metrics.listen"]


def test_certificates_and_plain_text_to_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_PATIENCE_S", 0.1)
    authority = Authority(tmp_path / "ca")
    certificate = authority.agent("web-1")
    files = {
        "TLS__CERTIFICATE": str(certificate), "TLS__KEY": str(certificate.with_suffix(".key")),
        "TLS__CA": str(authority.ca),
    }  # fmt: skip
    code, found = check(f"--spool-path={tmp_path}/spool.db", "--aggregator=127.0.0.1:1", environment=files)
    assert found["certificates"][0] == "ok"
    assert "web-1" in found["certificates"][1]
    code, found = check(f"--spool-path={tmp_path}/spool.db", "--aggregator=203.0.113.1:7443")
    assert code == 1
    assert found["certificates"][0] == "FAIL"


def test_a_wrong_setting_is_a_finding(tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text("spool: {pahth: 1}\n")
    code, found = check(f"--config={config}")
    assert code == 1
    assert found == {"configuration": ("FAIL", found["configuration"][1])}
    assert "spool.pahth" in found["configuration"][1]
