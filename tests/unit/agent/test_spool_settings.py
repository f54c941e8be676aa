"""Where the spool is by default, and that two agents on one machine do not meet in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from node_agent import commands
from node_agent.config import AgentSettings, load_settings
from sonde.config import show
from sonde.show import effective


def test_the_default_is_one_file_a_host_name() -> None:
    assert AgentSettings().spool.path == "/var/lib/sonde/agent/spool.db"
    names = ["web", "app", "Web", "we/b", "we b", "we_b", "../web", "é", "x" * 200, "x" * 199]
    paths = [AgentSettings(host_name=name).spool.path for name in names]
    assert paths[0] == "/var/lib/sonde/agent/spool-web.db"
    assert len(set(paths)) == len(paths)
    assert {str(Path(path).parent) for path in paths} == {"/var/lib/sonde/agent"}
    assert max(map(len, paths)) < 128


def test_a_given_path_is_taken_as_it_is() -> None:
    given = {"host_name": "web", "spool": {"path": "/data/spool.db"}}
    assert AgentSettings.model_validate(given).spool.path == "/data/spool.db"
    assert AgentSettings.model_validate({"host_name": "web", "spool": {"path": ""}}).spool.path == ""
    other = AgentSettings.model_validate({"host_name": "web", "spool": {"max_bytes": 1 << 20}}).spool
    assert (other.path, other.max_bytes) == ("/var/lib/sonde/agent/spool-web.db", 1 << 20)


def test_the_environment_reaches_every_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PATH", ""), ("MAX_AGE_SECONDS", "60"), ("QUARANTINE_BYTES", "0")):
        monkeypatch.setenv(f"SONDE_AGENT__SPOOL__{name}", value)
    spool = load_settings().spool
    assert (spool.path, spool.max_age_seconds, spool.quarantine_bytes) == ("", 60, 0)
    shown = yaml.safe_load(show(effective("agent")))
    assert shown["spool"]["max_age_seconds"] == 60


def test_a_wrong_limit_is_refused() -> None:
    with pytest.raises(ValidationError):
        AgentSettings.model_validate({"spool": {"max_bytes": 0}})
    with pytest.raises(ValidationError):
        AgentSettings.model_validate({"host_name": 7, "spool": 7})


def test_the_flag_wins(tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("spool: {path: /of/the/file, max_bytes: 1000000}\n")
    spool = commands._settings(str(file), spool_path="/of/the/flag").spool
    assert (spool.path, spool.max_bytes) == ("/of/the/flag", 1_000_000)
