"""The agent's settings; sonde/config.py says where they come from."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from node_agent.kernel.layout import SCOPE_ITEMS
from proto import sonde_pb2 as pb
from sonde.config import Settings, load
from sonde.errors import ConfigError
from sonde.logs import Log
from sonde.tls import Tls

PREFIX = "SONDE_AGENT__"
FILE = "/etc/sonde/agent.yml"
SPOOL_FOLDER = "/var/lib/sonde/agent"


class Scope(Settings):
    """What the agent may look at; everything else stays unread. Empty means everything."""

    netns: str = Field("", description="network namespace: its inode number, or a path such as /run/netns/web")
    cgroup: str = Field(
        "", description="cgroup (v2) path whose processes are looked at, such as /sys/fs/cgroup/a.slice"
    )
    ports: Annotated[list[int], Field(max_length=SCOPE_ITEMS)] = Field([], description="local or remote ports")
    pids: Annotated[list[int], Field(max_length=SCOPE_ITEMS)] = Field([], description="processes")

    @field_validator("netns", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @property
    def netns_inode(self) -> int:
        """Inode number of the namespace, 0 for all.

        Raises:
            ConfigError: it does not exist.
        """
        if not self.netns:
            return 0
        if self.netns.isdigit():
            return int(self.netns)
        try:
            return Path(self.netns).stat().st_ino
        except OSError:
            raise ConfigError(f"scope.netns: {self.netns} does not exist; `ip netns list` shows what does") from None

    @property
    def cgroup_id(self) -> tuple[int, int]:
        """(id, depth below the root) of the cgroup, (0, 0) for all.

        Raises:
            ConfigError: it does not exist, or is the root.
        """
        if not self.cgroup:
            return 0, 0
        path = Path(self.cgroup).resolve()
        try:
            inode = path.stat().st_ino
        except OSError:
            raise ConfigError(f"scope.cgroup: {self.cgroup} does not exist; give a path below /sys/fs/cgroup") from None
        depth, parent = 0, path
        while not os.path.ismount(parent):
            parent, depth = parent.parent, depth + 1
        if depth == 0:
            raise ConfigError("scope.cgroup: the root cgroup is no limit; leave it empty instead")
        return inode, depth


class Rings(Settings):
    """Sizes of the buffers between kernel and agent."""

    kilobytes: int = Field(4096, ge=16, le=262144, description="of each of the three request rings, a power of two")
    connections_kilobytes: int = Field(1024, ge=16, le=262144, description="of the ring of connections, a power of two")

    @field_validator("kilobytes", "connections_kilobytes")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two, such as 4096")
        return value


class Spool(Settings):
    """Batches that the aggregator has not acknowledged yet."""

    path: str = Field(
        f"{SPOOL_FOLDER}/spool.db",
        max_length=3000,
        description="file, one an agent; empty: memory only; with host_name set the default is spool-HOST.db there",
    )
    max_bytes: int = Field(
        1 << 30, ge=1 << 16, description="kept on disk; beyond it the oldest are dropped and counted"
    )
    max_age_seconds: float = Field(86_400.0, gt=0, description="older batches are dropped and counted")
    memory_bytes: int = Field(
        64 << 20, ge=1 << 16, description="kept in memory, without a file or while the disk fails"
    )
    quarantine_bytes: int = Field(16 << 20, ge=0, description="of batches that the aggregator refused for good")


class Delivery(Settings):
    """The streams to the aggregators."""

    window_batches: int = Field(64, ge=1, le=10_000, description="sent and not answered at once, at most")
    window_bytes: int = Field(32 << 20, ge=1 << 16, description="of these; one batch always goes")
    connect_seconds: float = Field(10.0, gt=0, le=600, description="to connect and be welcomed; then the next address")
    answer_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="for the answer to a batch; then the stream is left and the batch goes elsewhere; "
        "above the aggregator's peers.wait_s",
    )
    keepalive_seconds: float = Field(
        20.0, ge=6, le=3600, description="a silent connection is asked this often whether it lives"
    )
    keepalive_timeout_seconds: float = Field(10.0, ge=0.5, le=600, description="without an answer to that it is left")
    retry_seconds: float = Field(30.0, ge=0.25, le=3600, description="longest wait before the same address again")
    return_seconds: float = Field(
        300.0, ge=1, description="on another address than the preferred one; then that one is tried; +-25 %"
    )
    drain_seconds: float = Field(5.0, ge=0, le=600, description="for the last answers when the agent ends")


class AgentTls(Tls):
    """Mutual TLS with the aggregator."""

    server_name: str = Field("", description="name in the aggregator's certificate, where it is not its address")


class Budget(Settings):
    """What the agent may cost, itself and its probes in the kernel together, in percent of one core."""

    cpu_percent: float = Field(5.0, gt=0, le=100_000, description="near it fewer rows are sent; totals stay exact")
    least_rows: float = Field(
        500.0, ge=0, description="rows a second that may always be sent: first failed requests, then slow ones"
    )
    detach_percent: float = Field(
        100.0, ge=0, le=100_000, description="above it, on average of half a minute, the probes are detached; 0: never"
    )
    detach_seconds: float = Field(
        60.0, gt=0, le=3600, description="until they are attached again; twice as long each time, up to an hour"
    )


class Slow(Settings):
    """Requests that get a row of their own as long as possible, beside failed ones and those over their kind's p99."""

    ms: float = Field(100.0, ge=0, description="a request that lasts as long is slow")
    protocols: dict[str, float] = Field({"redis": 10.0}, description="the same for one protocol, such as `mysql: 50`")

    @field_validator("protocols")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        known = [name.lower() for name in pb.Protocol.keys()[1:]]
        for name in value:
            if name not in known:
                raise ValueError(f"{name} is no protocol; known are {', '.join(known)}")
        return value


class Texts(Settings):
    """Statements, literals masked."""

    share: float = Field(
        1.0, ge=0, le=1, description="of ordinary rows that carry their statement; slow and failed ones always do"
    )


class Recent(Settings):
    """Rows that were not sent, kept in memory in case the aggregator asks for the other half of a slow request."""

    seconds: float = Field(60.0, ge=0, le=3600, description="kept so long")
    max_bytes: int = Field(16 << 20, ge=0, description="beyond it the oldest are forgotten; about 40 bytes a row")
    wait_seconds: float = Field(15.0, gt=0, le=600, description="a row that is asked for may come so much later")


class Metrics(Settings):
    """The agent's own metrics for Prometheus."""

    listen: str = Field("127.0.0.1:9898", description="address:port; empty: none")


class ServiceRule(Settings):
    """Names the service of processes."""

    service: str = Field(min_length=1, max_length=200)
    process: str = Field("", description="regular expression that matches the process name")
    command: str = Field("", description="regular expression found in the command line")


def spool_path(host_name: str) -> str:
    """Default file of an agent whose host's name is configured; different names never share one."""
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", host_name)[:64]
    if plain != host_name:
        plain += "_" + hashlib.blake2b(host_name.encode(), digest_size=6).hexdigest()
    return f"{SPOOL_FOLDER}/spool-{plain}.db"


class AgentSettings(Settings):
    """All of them."""

    host_name: str = Field("", max_length=200, description="name of this host in every table; empty: the system's")
    aggregator: Annotated[list[str], Field(min_length=1, max_length=64)] = Field(
        ["127.0.0.1:7443"], description="address:port of its gRPC; several as a list, or in one text with commas"
    )
    tags: dict[str, str] = Field({}, description="of this host, such as Ansible groups")
    services: list[ServiceRule] = Field([], description="first match names the service")
    scope: Scope = Scope()
    probes: list[str] = Field(["connections", "requests"], description="probes to load")
    end_idle_seconds: float = Field(1.0, gt=0, le=3600, description="a response ends after this long without a byte")
    in_flight_seconds: float = Field(1.0, gt=0, le=3600, description="unanswered requests older than this are reported")
    flush_seconds: float = Field(1.0, gt=0, le=60, description="a batch is sealed this often")
    max_connections: int = Field(65536, ge=64, le=4_000_000, description="sockets that are followed at once")
    rings: Rings = Rings()
    spool: Spool = Spool()
    budget: Budget = Budget()
    slow: Slow = Slow()
    texts: Texts = Texts()
    recent: Recent = Recent()
    delivery: Delivery = Delivery()
    tls: AgentTls = AgentTls()
    insecure: bool = Field(False, description="send in plain text to an aggregator on another host")
    metrics: Metrics = Metrics()
    log: Log = Log()

    @field_validator("aggregator", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return [part.strip() for part in given.split(",")] if isinstance(given, str) else given

    @field_validator("aggregator")
    @classmethod
    def _addresses(cls, given: list[str]) -> list[str]:
        for address in given:
            host, _, port = address.rpartition(":")
            if not (host and port.isdigit() and 0 < int(port) < 1 << 16) or any(map(str.isspace, address)):
                raise ValueError(f"{address!r} is not address:port, such as 10.0.0.5:7443 or [::1]:7443")
        return list(dict.fromkeys(given))

    @model_validator(mode="before")
    @classmethod
    def _spool_of_the_host(cls, given: Any) -> Any:
        # Several agents on one machine have names of their own; they must not meet in one file.
        spool = given.get("spool", {}) if isinstance(given, dict) else None
        if isinstance(spool, dict) and "path" not in spool and given.get("host_name"):
            return given | {"spool": spool | {"path": spool_path(str(given["host_name"]))}}
        return given

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host_name or platform.node()


def load_settings(flags: dict[str, object] | None = None, file: str | None = None) -> AgentSettings:
    """The agent's settings; raises ConfigError."""
    return load(AgentSettings, PREFIX, FILE, dict(flags or {}), file)
