"""Settings of the aggregator: file /etc/sonde/aggregator.yml, variables SONDE_AGGREGATOR__..., flags over both.

Every limit of the aggregator is here, with its unit in its name; what a limit cuts off is counted (/metrics).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr, model_validator

from sonde import config
from sonde.logs import Log
from sonde.tls import Tls

PREFIX = "SONDE_AGGREGATOR__"
DEFAULT_FILE = "/etc/sonde/aggregator.yml"
MIB = 1024 * 1024
_INSERT_MEMORY_BYTES = 256 * MIB


class Retention(config.Settings):
    """Days that each table keeps its rows."""

    requests: int = Field(default=7, ge=1, le=3650)
    request_stats_10s: int = Field(default=7, ge=1, le=3650)
    request_stats_1m: int = Field(default=35, ge=1, le=3650)
    request_stats_1h: int = Field(default=400, ge=1, le=3650)
    statement_stats_1m: int = Field(default=35, ge=1, le=3650)
    statement_texts: int = Field(default=90, ge=1, le=3650)
    connections: int = Field(default=7, ge=1, le=3650)
    host_reports: int = Field(default=35, ge=1, le=3650)
    endpoint_reports: int = Field(default=35, ge=1, le=3650)
    agent_stats: int = Field(default=14, ge=1, le=3650)
    accepted_batches: int = Field(default=7, ge=1, le=3650)


class Cluster(config.Settings):
    """A ClickHouse cluster behind a clickhouse:// URL; without a name it is one server."""

    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{0,128}$",
        description="Name in the servers' remote_servers; tables are then replicated and distributed",
    )
    insert_quorum: str = Field(
        default="auto",
        pattern=r"^(auto|\d{1,2})$",
        description="Replicas that must have an insert before it is acknowledged; auto: the majority, 0: one is enough",
    )
    insert_timeout_s: float = Field(
        default=60.0, gt=0, le=600, description="How long an insert waits for them; then the agent sends it again"
    )


class DiskGuard(config.Settings):
    """Dropping the oldest partitions of the embedded store before its disk is full; both limits 0: never."""

    min_free_bytes: int = Field(default=1024 * MIB, ge=0, description="Keep so much free; the larger of the two counts")
    min_free_percent: float = Field(default=5.0, ge=0, le=90, description="Keep so much of the disk free")
    every_s: float = Field(default=30.0, gt=0, le=3600, description="How often it looks")


class Storage(config.Settings):
    """Where the rows go, and the memory of the embedded engine."""

    url: str = "chdb:///var/lib/sonde/store"
    cluster: Cluster = Cluster()
    memory_bytes: int = Field(default=2048 * MIB, ge=256 * MIB)
    insert_threads: int = Field(default=2, ge=1, le=32)
    journal: str = Field(default="", description="folder of the journal (embedded store); empty: beside the store")
    block_rows: int = Field(
        default=50_000, ge=1, le=1_000_000, description="rows that make a block of merged batches (embedded store)"
    )
    block_bytes: int = Field(
        default=64 * MIB, ge=MIB, le=1024 * MIB, description="serialised bytes that make a block as well"
    )
    block_delay_s: float = Field(
        default=0.25, ge=0, le=10, description="a batch waits for others at most so long; a quiet fleet's latency"
    )
    block_retry_s: float = Field(
        default=10.0, ge=0.1, le=600, description="longest pause before a block is inserted again after a failure"
    )
    retention_days: Retention = Retention()
    guard: DiskGuard = DiskGuard()


class GrpcTls(Tls):
    """Mutual TLS with the agents."""

    handshake_seconds: float = Field(
        10.0, ge=1, le=120, description="a connection that brings no stream by then counts as a failed handshake"
    )


class Grpc(config.Settings):
    """The port that agents deliver to."""

    listen: str = "127.0.0.1:7443"
    tls: GrpcTls = GrpcTls()
    insecure: bool = Field(default=False, description="let agents of other hosts deliver in plain text")
    max_agents: int = Field(default=256, ge=1, le=10_000, description="streams at once; more are refused, counted")
    streams_per_agent: int = Field(default=4, ge=1, le=1_000, description="at once; half-open ones last 40 s")
    hello_s: float = Field(default=10.0, ge=0.1, le=600, description="a stream without Hello by then ends, counted")
    window_batches: int = Field(
        default=64, ge=1, le=10_000, description="unanswered batches of a stream; then it is not read on"
    )


class Limits(config.Settings):
    """What one batch may hold; more is refused and counted."""

    batch_bytes: int = Field(default=8 * MIB, ge=1024, le=256 * MIB)
    content_bytes: int = Field(default=32 * MIB, ge=1024, le=1024 * MIB)
    rows: int = Field(default=262_144, ge=1, le=1_000_000)
    strings: int = Field(default=262_144, ge=1, le=4_000_000)
    buckets: int = Field(default=1_048_576, ge=1, le=16_000_000, description="of one kind of sketch")
    text_bytes: int = Field(default=65_536, ge=16)
    name_bytes: int = Field(default=1_024, ge=16)
    statements: int = Field(default=2_000, ge=1)
    services: int = Field(default=4_096, ge=1, description="distinct ones of a batch")
    names: int = Field(default=65_536, ge=1, description="distinct values of any other column of names of a batch")
    details: int = Field(default=1_000, ge=1, description="parts of the counts in one row of agent_stats")
    agent_bytes_per_s: int = Field(
        default=32 * MIB, ge=1024, description="content of one agent, decompressed; more is refused with a time to wait"
    )
    agent_burst_bytes: int = Field(default=256 * MIB, ge=1024, description="that it may send at once after a pause")
    pending_bytes: int = Field(
        default=256 * MIB, ge=MIB, description="memory of all batches in work; beyond it streams wait, then are refused"
    )
    pending_wait_s: float = Field(
        default=10.0, ge=0, le=600, description="how long a stream waits for room in limits.pending_bytes"
    )


class Peers(config.Settings):
    """How the other end of a connection is found."""

    wait_s: float = Field(default=15.0, ge=0, le=600)
    settle_s: float = Field(default=5.0, ge=0, le=600)
    refresh_s: float = Field(
        default=3.0, gt=0, le=600, description="clickhouse:// only: how often to read what other aggregators learned"
    )
    connections: int = Field(default=1_000_000, ge=1_000)
    waiting_bytes: int = Field(
        default=96 * MIB, ge=MIB, description="memory of batches that wait for a peer; beyond it they stop waiting"
    )
    outside_prefix_v4: int = Field(default=32, ge=0, le=32)
    outside_prefix_v6: int = Field(default=64, ge=0, le=128)
    outside_hosts: int = Field(default=10_000, ge=1)


class Halves(config.Settings):
    """The other half of slow and failed requests, asked for where its agent did not send it on its own."""

    wait_s: float = Field(default=1.0, ge=0, le=60, description="it may come on its own for so long")
    give_up_s: float = Field(default=20.0, gt=0, le=600, description="an open question is forgotten after this")
    per_agent_per_second: int = Field(default=1_000, ge=0, le=1_000_000, description="rows asked for, longest first")
    pending: int = Field(default=50_000, ge=0, le=10_000_000, description="open questions; more are not asked")
    remembered_ids: int = Field(default=2_000_000, ge=0, description="of rows that came in the last 10 s, 8 bytes each")


class Sql(config.Settings):
    """ClickHouse's HTTP interface over the embedded engine."""

    listen: str = "127.0.0.1:8123"
    token_file: str = ""
    token: SecretStr = SecretStr("")
    tenants: dict[Annotated[str, Field(min_length=1)], str] = Field(
        default={}, description="tenant -> file of its token, which shows the rows of the tenant's hosts only"
    )
    allowed_hosts: tuple[str, ...] = ()
    max_memory_bytes: int = Field(default=384 * MIB, ge=MIB)
    max_seconds: float = Field(default=30.0, gt=0, le=3600)
    max_threads: int = Field(default=2, ge=1, le=256)
    max_concurrent: int = Field(default=4, ge=1, le=64)
    max_queue_s: float = Field(default=5.0, ge=0, le=600)
    max_result_bytes: int = Field(default=128 * MIB, ge=1024)
    max_query_bytes: int = Field(default=256 * 1024, ge=1024)


class Api(config.Settings):
    """Health and metrics."""

    listen: str = "127.0.0.1:9180"
    max_series: int = Field(
        default=1_000, ge=1, le=100_000, description="label sets of the fleet's request metrics; the rest is ~other"
    )
    max_agents: int = Field(
        default=1_000, ge=1, le=100_000, description="agents with labels of their own; the rest is ~other"
    )


class AggregatorSettings(config.Settings):
    """Settings of `sonde aggregator`."""

    storage: Storage = Storage()
    grpc: Grpc = Grpc()
    limits: Limits = Limits()
    peers: Peers = Peers()
    halves: Halves = Halves()
    sql: Sql = Sql()
    api: Api = Api()
    log: Log = Log()
    drain_s: float = Field(
        default=10.0, ge=0, le=300, description="when it is stopped, how long batches in work may take to be answered"
    )

    @model_validator(mode="after")
    def _leave_memory_for_inserts(self) -> AggregatorSettings:
        queries = self.sql.max_memory_bytes * self.sql.max_concurrent
        if queries + _INSERT_MEMORY_BYTES > self.storage.memory_bytes:
            raise ValueError(
                "sql.max_memory_bytes times sql.max_concurrent must leave 256 MiB of storage.memory_bytes to inserts"
            )
        return self


def load(flags: dict[str, Any] | None = None, file: str | None = None) -> AggregatorSettings:
    """Effective settings.

    Raises:
        ConfigError: a key is unknown or a value is wrong.
    """
    return config.load(AggregatorSettings, PREFIX, DEFAULT_FILE, flags, file)
