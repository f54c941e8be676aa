"""Sonde's own programs as the demo starts them: aggregator, one agent a host, dashboard, or a replay."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.targets.netns import Network
from tests.targets.process import Process

SONDE = str(Path(sys.executable).with_name("sonde"))


class DemoError(Exception):
    """The demo cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Ports:
    """The ports of DESIGN.md section 4, all moved by one offset."""

    grpc: int = 7443
    api: int = 9180
    metrics: int = 9898
    dashboard: int = 8050
    sql: int = 8123

    @classmethod
    def moved(cls, offset: int) -> Ports:
        """The usual ports plus the offset."""
        usual = cls()
        return cls(
            usual.grpc + offset,
            usual.api + offset,
            usual.metrics + offset,
            usual.dashboard + offset,
            usual.sql + offset,
        )

    def check_free(self, agents: int) -> None:
        """Raises DemoError if something listens on one of them."""
        agent_ports = range(self.metrics, self.metrics + agents)
        for port in (self.grpc, self.api, self.dashboard, self.sql, *agent_ports):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    raise DemoError(
                        f"port {port} is taken, perhaps by another Sonde; stop that, or move this one: "
                        'make demo ARGS="--port-offset 100"'
                    ) from None


class Part(Process):
    """One `sonde` command in the root namespace, with its log in the demo's directory."""

    def __init__(self, name: str, logs: Path, *arguments: str, ports: tuple[int, ...] = ()) -> None:
        super().__init__(None, SONDE, *arguments, ports=ports, timeout_s=60)
        self.name = name
        self.log = logs / f"{name}.log"

    def check(self) -> None:
        """Raises DemoError with the end of its log if it has ended."""
        if self.child is not None and self.child.poll() is not None:
            raise DemoError(f"{self.name} ended with {self.child.returncode}; the end of its log:\n{self.tail()}")


def aggregator(logs: Path, store: Path, ports: Ports) -> Part:
    """The aggregator with an embedded store."""
    return Part(
        "aggregator",
        logs,
        "aggregator",
        "--store",
        f"chdb://{store}",
        "--grpc-listen",
        f"127.0.0.1:{ports.grpc}",
        "--api-listen",
        f"127.0.0.1:{ports.api}",
        "--sql-listen",
        f"127.0.0.1:{ports.sql}",
        ports=(ports.grpc, ports.api, ports.sql),
    )


def dashboard(logs: Path, ports: Ports) -> Part:
    """The pages."""
    return Part(
        "dashboard",
        logs,
        "dashboard",
        "--listen",
        f"127.0.0.1:{ports.dashboard}",
        "--sql-url",
        f"http://127.0.0.1:{ports.sql}",
        ports=(ports.dashboard,),
    )


def agents(logs: Path, network: Network, ports: Ports) -> list[Part]:
    """One agent a host, limited to the host's namespace; its metrics listen once its probes are attached."""
    return [
        Part(
            f"agent-{host}",
            logs,
            "agent",
            "--host-name",
            host,
            "--aggregator",
            f"127.0.0.1:{ports.grpc}",
            "--scope-netns",
            str(network[host].inode),
            "--metrics-listen",
            f"127.0.0.1:{ports.metrics + number}",
            "--spool-path",
            str(logs.parent / f"spool-{host}.db"),
            ports=(ports.metrics + number,),
        )
        for number, host in enumerate(network)
    ]


def replay(logs: Path, recording: Path, ports: Ports) -> Part:
    """A recording instead of an agent, again and again."""
    end = f"127.0.0.1:{ports.grpc}"
    return Part(f"replay-{recording.stem}", logs, "replay", str(recording), "--loop", "--aggregator", end)
