"""Three machines and a controller: what the deployment test plays on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.deploy.machines import USER, Machine, image, listen_in, run
from tests.deploy.relay import Relay
from tests.targets.netns import Network

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".sonde" / "deploy-test"
MACHINES = ("collector", "web", "db")
LABEL = "sonde-d"


class Fleet:
    """`collector` for the aggregator and the pages, `web` and `db` for agents; the controller is a namespace."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.machines: dict[str, Machine] = {}
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise

    def _make(self) -> None:
        base = image(CACHE)
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-deploy-")))
        self.network = self._stack.enter_context(
            Network("controller", *MACHINES, "absent", prefix="10.88.0", label=LABEL)
        )
        self.controller = self.network["controller"]
        relay = Relay(listening := listen_in(self.controller, self.controller.address), CACHE / "packages")
        self._stack.callback(relay.close)
        proxy = f"http://{self.controller.address}:{listening.getsockname()[1]}"
        self.key = self.folder / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "controller", "-f", str(self.key))
        public = self.key.with_suffix(".pub").read_text()
        names = {name: self.network[name].address for name in MACHINES}
        known = []
        for name in MACHINES:
            machine = self._stack.enter_context(Machine(name, self.network[name], base, self.folder))
            known.append(machine.prepare(public, names, proxy))
            self.machines[name] = machine
        self.known_hosts = self.folder / "known_hosts"
        self.known_hosts.write_text("\n".join(known) + "\n")
        for machine in self.machines.values():
            machine.boot()
        self.ca = self.folder / "ca"
        self.inventory = self.folder / "inventory.yml"
        self.write_inventory()

    def write_inventory(self, _extra_agents: dict[str, Any] | None = None, **variables: Any) -> None:
        """The fleet as an operator would write it, plus what keeps each agent to its machine."""

        def host(name: str, **more: Any) -> dict[str, Any]:
            return {"ansible_host": self.network[name].address, **more}

        def agent(name: str) -> dict[str, Any]:
            # The machines share one kernel: without this an agent would see them all, and this machine too.
            return host(name, sonde_agent_settings={"scope": {"netns": str(self.network[name].inode)}})

        inventory = {
            "all": {
                "vars": {
                    "ansible_user": USER,
                    "ansible_ssh_private_key_file": str(self.key),
                    "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes",
                    "sonde_ca_folder": str(self.ca),
                    "sonde_ca_command": f"{Path(sys.executable).parent / 'sonde'}",
                    "sonde_wheelhouse": str(CACHE / "wheelhouse"),
                    "sonde_agent_aggregators": ["collector:7443"],
                    **variables,
                },
                "children": {
                    "sonde_aggregators": {"hosts": {"collector": host("collector")}},
                    "sonde_dashboards": {"hosts": {"collector": {}}},
                    "sonde_agents": {"children": {"env_test": {}, "web_servers": {}}},
                    "env_test": {"hosts": {"web": agent("web"), "db": agent("db"), **(_extra_agents or {})}},
                    "web_servers": {"hosts": {"web": {}}},
                },
            }
        }
        self.inventory.write_text(yaml.safe_dump(inventory))

    def hold(self, path: Path) -> None:
        """Lock a file until the fleet is closed."""
        file = self._stack.enter_context(path.open("ab"))
        fcntl.flock(file, fcntl.LOCK_EX)

    def play(self, playbook: str, *arguments: str, timeout: float = 900) -> tuple[int, str]:
        """Run a playbook on the controller; (exit code, output)."""
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "deploy/ansible/ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        argv = self.controller.command(
            str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.inventory), playbook, *arguments
        )
        done = subprocess.run(
            argv, cwd=ROOT / "deploy/ansible", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=timeout,
        )  # fmt: skip
        return done.returncode, done.stdout

    def ssh(self, name: str, command: str, check: bool = True, timeout: float = 120) -> str:
        """Output of a shell command on a machine, as root."""
        argv = self.controller.command(
            "ssh", "-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=10", f"{USER}@{self.network[name].address}", "sudo", "sh", "-s",
        )  # fmt: skip
        done = subprocess.run(argv, input=command, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"{name}: {command!r} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query, asked on the collector."""
        url = "http://127.0.0.1:8123/?database=sonde"
        command = f"curl -sS --fail-with-body '{url}' --data-binary @- <<'Q'\n{query} FORMAT JSONEachRow\nQ"
        return [json.loads(line) for line in self.ssh("collector", command).splitlines()]

    def close(self) -> None:
        """Everything gone."""
        self._stack.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
