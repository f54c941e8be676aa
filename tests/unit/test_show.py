"""`sonde config show`: effective settings, the order of their sources, secrets masked."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sonde.cli import cli, main
from sonde.show import MODELS


@pytest.mark.parametrize("program", sorted(MODELS))
def test_shows_each_program_as_yaml(program: str) -> None:
    shown = CliRunner().invoke(cli, ["config", "show", program])
    assert shown.exit_code == 0, shown.output
    assert isinstance(yaml.safe_load(shown.output), dict)


def test_shows_all_programs() -> None:
    shown = CliRunner().invoke(cli, ["config", "show"])
    assert [line for line in shown.output.splitlines() if line.startswith("# ")] == [
        "# agent",
        "# aggregator",
        "# dashboard",
    ]


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("host_name: of-the-file\naggregator: 127.0.0.1:1\n")
    monkeypatch.setenv("SONDE_AGENT__HOST_NAME", "of-the-environment")
    shown = yaml.safe_load(CliRunner().invoke(cli, ["config", "show", "agent", "--config", str(file)]).output)
    assert shown["host_name"] == "of-the-environment"
    assert shown["aggregator"] == ["127.0.0.1:1"]


def test_masks_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONDE_AGGREGATOR__SQL__TOKEN", "very-secret")
    shown = CliRunner().invoke(cli, ["config", "show", "aggregator"]).output
    assert "very-secret" not in shown
    assert yaml.safe_load(shown)["sql"]["token"] == "********"


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["config", "show", "--config", "x.yml"], "", "--config needs a program"),
        (["config", "show", "agent", "--config", "missing.yml"], "", "missing.yml: no such file"),
        (["config", "show", "agent"], "SONDE_AGENT__NO_SUCH_KEY", "unknown setting no_such_key"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str],
    environment: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if environment:
        monkeypatch.setenv(environment, "1")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert told in capsys.readouterr().err
