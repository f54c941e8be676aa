"""The playbooks without a host: syntax, lint, and variables that specs, defaults, documentation and C agree on."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest
import yaml

from node_agent.kernel.capabilities import CAPABILITIES
from node_agent.probes.registry import PROBES
from sonde import __version__

ROOT = Path(__file__).resolve().parents[3]
ANSIBLE = ROOT / "deploy" / "ansible"
ROLES = sorted(path.name for path in (ANSIBLE / "roles").iterdir())
PLAYBOOKS = ("deploy-agents.yml", "deploy-aggregator.yml", "remove.yml", "site.yml", "upgrade.yml")
BIN = Path(sys.executable).parent
_TRACEPOINT = re.compile(r"^(?:RAW_TRACEPOINT_PROBE\((\w+)\)|TRACEPOINT_PROBE\(\w+, (\w+)\))", re.M)

needs_ansible = pytest.mark.skipif(
    not (BIN / "ansible-lint").exists(), reason="ansible-core needs Python 3.11 on the controller"
)


def run(tmp_path: Path, *argv: str) -> str:
    """Output of one of Ansible's commands, which must succeed, and must not look for anything on the network."""
    environment = os.environ | {
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    done = subprocess.run(argv, cwd=ANSIBLE, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(role: str, part: str) -> dict[str, Any]:
    loaded = yaml.safe_load((ANSIBLE / "roles" / role / f"{part}.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@needs_ansible
@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_syntax(playbook: str, tmp_path: Path) -> None:
    run(tmp_path, str(BIN / "ansible-playbook"), "--syntax-check", playbook)


@needs_ansible
def test_lint_profile_production(tmp_path: Path) -> None:
    tree = tmp_path / "ansible"  # it leaves caches where it runs
    shutil.copytree(ANSIBLE, tree, ignore=shutil.ignore_patterns(".ansible"))
    run(tmp_path, str(BIN / "ansible-lint"), "--offline", "-q", "--project-dir", str(tree), str(tree))


@pytest.mark.parametrize("role", [role for role in ROLES if role != "sonde_common"])
def test_every_variable_is_specified_and_no_other(role: str) -> None:
    options = read(role, "meta/argument_specs")["argument_specs"]["main"]["options"]
    defaults = read(role, "defaults/main")
    assert sorted(options) == sorted(defaults)
    assert all(name.startswith(f"{role}_") for name in options)
    types: dict[str, type] = {"bool": bool, "int": int, "list": list, "dict": dict}
    for name, option in options.items():
        plain = not isinstance(defaults[name], str)
        assert not plain or type(defaults[name]) is types[option["type"]], name


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_whole(role: str) -> None:
    parts = {"meta/argument_specs.yml", "defaults/main.yml"}
    if role != "sonde_common":
        tasks = ("main", "preflight", "install", "configure", "verify", "rollback", "remove")
        parts |= {"handlers/main.yml", "vars/main.yml", *(f"tasks/{name}.yml" for name in tasks)}
    assert [part for part in sorted(parts) if not (ANSIBLE / "roles" / role / part).exists()] == []


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("role_docs", ROOT / "deploy" / "setup" / "role_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_variables_is_fresh() -> None:
    page = (ROOT / "docs" / "ansible.md").read_text(encoding="utf-8")
    assert page == generator().page(), "run `.venv/bin/python deploy/setup/role_docs.py > docs/ansible.md`"


def test_the_roles_install_this_release() -> None:
    for role in ("sonde_agent", "sonde_aggregator", "sonde_dashboard"):
        assert f"'{__version__}'" in read(role, "defaults/main")[f"{role}_version"]
    assert yaml.safe_load((ANSIBLE / "galaxy.yml").read_text(encoding="utf-8"))["version"] == __version__


def test_the_preflight_knows_the_tracepoints_of_every_probe() -> None:
    needs = read("sonde_agent", "vars/main")["sonde_agent_probe_needs"]
    assert sorted(needs) == sorted(PROBES)
    for probe in PROBES:
        text = (ROOT / "bpf" / f"{probe}.c").read_text(encoding="utf-8")
        used = {first or second for first, second in _TRACEPOINT.findall(text)}
        assert {name for need in needs[probe] for name in need.split("|")} == used, probe


def test_the_unit_gives_exactly_what_the_agent_asks_for() -> None:
    unit = (ANSIBLE / "roles/sonde_agent/templates/sonde-agent.service.j2").read_text(encoding="utf-8")
    given = re.search(r"set capabilities = \[([^]]*)\]", unit)
    assert given is not None
    assert sorted(re.findall(r"CAP_\w+", given.group(1))) == sorted(item.name for item in CAPABILITIES)
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "Type=notify", "WatchdogSec=", "Restart=on-failure"):
        assert line in unit


@pytest.mark.parametrize(("level", "more"), [("2", []), ("3", ["CAP_SYS_ADMIN"])])
def test_the_unit_follows_the_hosts_sysctl(level: str, more: list[str]) -> None:
    environment = jinja2.Environment()
    environment.filters["b64decode"] = lambda text: base64.b64decode(text).decode()
    template = (ANSIBLE / "roles/sonde_agent/templates/sonde-agent.service.j2").read_text(encoding="utf-8")
    content = base64.b64encode(level.encode() + b"\n").decode()
    unit = environment.from_string(template).render(
        sonde_agent_paranoid={"content": content}, sonde_agent_extra_capabilities=[]
    )
    for line in ("AmbientCapabilities=", "CapabilityBoundingSet="):
        given = unit.partition(line)[2].partition("\n")[0].split()
        assert sorted(given) == sorted([*(item.name for item in CAPABILITIES), *more])


def test_only_what_comes_with_ansible_core_is_used() -> None:
    for path in ANSIBLE.rglob("*.yml"):
        foreign = re.findall(r"^\s*-?\s*(?!ansible\.builtin\.)(\w+\.\w+\.\w+):", path.read_text(encoding="utf-8"), re.M)
        assert foreign == [], path
