"""The agent's settings: what is refused, and that the message names the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent import commands
from node_agent.config import AgentSettings, load_settings
from sonde.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SONDE_AGENT__"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.aggregator == ["127.0.0.1:7443"]
    assert settings.probes == ["connections", "requests"]
    assert settings.scope.netns_inode == 0
    assert settings.scope.cgroup_id == (0, 0)
    assert settings.name


def test_flag_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("host_name: file\naggregator: file:1\nspool: {max_bytes: 100000}\n")
    monkeypatch.setenv("SONDE_AGENT__AGGREGATOR", "environment:1")
    monkeypatch.setenv("SONDE_AGENT__HOST_NAME", "environment")
    monkeypatch.setenv("SONDE_AGENT__RINGS__KILOBYTES", "64")
    settings = load_settings({"host_name": "flag"}, str(file))
    assert (settings.name, settings.aggregator) == ("flag", ["environment:1"])
    assert (settings.spool.max_bytes, settings.rings.kilobytes) == (100_000, 64)


@pytest.mark.parametrize("given", ["a:1", "a:1,[::1]:2 , a:1", ["a:1"], ["a:1", "[::1]:2"]])
def test_one_aggregator_or_several(given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["a:1", "[::1]:2"] if "2" in str(given) else ["a:1"]
    assert load_settings({"aggregator": given}).aggregator == wanted
    if isinstance(given, str):
        monkeypatch.setenv("SONDE_AGENT__AGGREGATOR", given)
        assert load_settings().aggregator == wanted
        assert commands._settings(None, aggregator=given).aggregator == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rings": {"kilobytes": 100}}, "rings.kilobytes.*power of two"),
        ({"rings": {"kilobyte": 64}}, "unknown setting rings.kilobyte"),
        ({"scope": {"ports": list(range(1, 10))}}, "scope.ports"),
        ({"scope": {"pids": list(range(1, 10))}}, "scope.pids"),
        ({"end_idle_seconds": 0}, "end_idle_seconds"),
        ({"flush_seconds": -1}, "flush_seconds"),
        ({"aggregator": ""}, "address:port"),
        ({"aggregator": "localhost"}, "'localhost' is not address:port"),
        ({"aggregator": ["a:1", "b:70000"]}, "'b:70000' is not"),
        ({"aggregator": "a:1,"}, "aggregator"),
        ({"aggregator": []}, "aggregator"),
        ({"nonsense": 1}, "unknown setting nonsense"),
        ({"services": [{"service": ""}]}, "services"),
    ],
)
def test_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(given)


def test_unknown_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONDE_AGENT__SPOOL__MAXBYTES", "1")
    with pytest.raises(ConfigError, match=r"spool\.maxbytes"):
        load_settings()


def test_network_namespace_by_path_and_by_number() -> None:
    inode = os.stat("/proc/self/ns/net").st_ino
    for given in ("/proc/self/ns/net", str(inode), inode):
        assert AgentSettings.model_validate({"scope": {"netns": given}}).scope.netns_inode == inode
    with pytest.raises(ConfigError, match="ip netns list"):
        _ = AgentSettings.model_validate({"scope": {"netns": "/run/netns/none"}}).scope.netns_inode


def test_cgroup_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="below /sys/fs/cgroup"):
        _ = AgentSettings.model_validate({"scope": {"cgroup": "/sys/fs/cgroup/none-such"}}).scope.cgroup_id
