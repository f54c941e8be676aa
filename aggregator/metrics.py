"""Every figure that the aggregator publishes on /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aggregator.agent_metrics import AgentMetrics
from aggregator.config import Api
from aggregator.request_metrics import RequestMetrics

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


_DEFAULTS = Api()


class Metrics:
    """The registry and its figures."""

    def __init__(self, settings: Api = _DEFAULTS) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.agents = Gauge("sonde_agents_connected", "Streams open now.", registry=r)
        self.batches = Counter("sonde_batches_received", "Batches that arrived, whatever became of them.", registry=r)
        self.inserted = Counter("sonde_batches_inserted", "Batches whose rows are in the store.", registry=r)
        self.repeated = Counter("sonde_batches_repeated", "Batches that had been accepted before.", registry=r)
        self.refused = Counter("sonde_batches_refused", "Batches and messages refused.", ["code"], registry=r)
        self.delayed = Counter(
            "sonde_batches_delayed", "Batches that had to wait for the other end of a link.", registry=r
        )
        self.repeated_bytes = Counter(
            "sonde_repeated_bytes", "Compressed bytes of repeated batches; their rows are not counted.", registry=r
        )
        self.refused_bytes = Counter(
            "sonde_refused_bytes", "Compressed bytes of refused batches; their rows are not counted.", registry=r
        )
        self.rows_received = Counter(
            "sonde_rows_received", "Rows of batches that were opened, repetitions left out.", ["section"], registry=r
        )
        self.rows_delayed = Counter("sonde_rows_delayed", "Rows of requests in delayed batches.", registry=r)
        self.pending_bytes = Gauge(
            "sonde_pending_bytes", "Serialised bytes of batches accepted and not acknowledged yet.", registry=r
        )
        self.bytes = Counter("sonde_batch_bytes", "Compressed bytes of batches that arrived.", registry=r)
        self.streams_ended = Counter(
            "sonde_streams_ended",
            "Streams and calls by why they ended; gone: closed, cut off, or by a message that gRPC itself refuses.",
            ["reason"],
            registry=r,
        )
        self.handshakes_failed = Counter(
            "sonde_tls_handshakes_failed", "TLS connections that brought no stream in time.", registry=r
        )
        self.certificate_expires = Gauge(
            "sonde_tls_certificate_expires_timestamp_seconds",
            "When the certificate of grpc.tls expires; 0 without one.",
            registry=r,
        )
        self.rows = Counter("sonde_rows_inserted", "Rows inserted, repetitions left out.", ["table"], registry=r)
        self.insert_failures = Counter(
            "sonde_insert_failures", "Inserts of a block that failed; it is tried again.", registry=r
        )
        self.blocks = Counter("sonde_blocks_inserted", "Blocks of merged batches inserted.", registry=r)
        self.replayed = Counter("sonde_journal_replayed_blocks", "Blocks inserted again after a start.", registry=r)
        self.set_aside = Counter("sonde_journal_damaged_blocks", "Blocks that could not be replayed.", registry=r)
        self.journal_failures = Counter(
            "sonde_journal_failures", "Blocks that could not be written to the journal; agents resend.", registry=r
        )
        self.journal_seconds = Histogram(
            "sonde_journal_seconds", "One block into the journal, synced.", buckets=_SECONDS, registry=r
        )
        self.waiting = Gauge("sonde_batches_waiting", "Batches that wait for the other end of a link.", registry=r)
        self.pending = Gauge("sonde_batches_pending", "Batches accepted and not acknowledged yet.", registry=r)
        self.halves = Counter(
            "sonde_halves",
            "Slow and failed rows by what became of the row of their other end: came, asked, then found or missing; "
            "not_asked where its agent sends all rows or has no stream here; over_limit.",
            ["outcome"],
            registry=r,
        )
        self.halves_open = Gauge("sonde_halves_open", "Slow and failed rows that may still be asked for.", registry=r)
        self.unresolved = Counter("sonde_links_unresolved", "Links stored with the other end ~unknown.", registry=r)
        self.released = Counter(
            "sonde_batches_released_early",
            "Batches that stopped waiting as peers.waiting_bytes was reached.",
            registry=r,
        )
        self.decode_seconds = Histogram(
            "sonde_decode_seconds", "Seal, decompression and checks of one batch.", buckets=_SECONDS, registry=r
        )
        self.insert_seconds = Histogram(
            "sonde_insert_seconds", "All inserts of one block.", buckets=_SECONDS, registry=r
        )
        self.acknowledge_seconds = Histogram(
            "sonde_acknowledge_seconds", "From the receipt of a batch to its insert.", buckets=_SECONDS, registry=r
        )
        self.per_agent = AgentMetrics(settings.max_agents)
        self.requests = RequestMetrics(settings.max_series)
        r.register(self.per_agent)
        r.register(self.requests)
        self.queries = Counter("sonde_sql_queries", "Queries on the SQL port by outcome.", ["outcome"], registry=r)
        self.query_seconds = Histogram("sonde_sql_query_seconds", "Time of a query.", buckets=_SECONDS, registry=r)
        self.rows_late = Counter(
            "sonde_rows_beyond_retention",
            "Rows inserted although older than their table's retention: kept in longer roll-ups only.",
            ["table"],
            registry=r,
        )
        self.disk_free = Gauge("sonde_storage_free_bytes", "Free on the embedded store's disk.", registry=r)
        self.disk_floor = Gauge("sonde_storage_floor_bytes", "What the disk guard keeps free.", registry=r)
        self.disk_guard_stuck = Gauge(
            "sonde_storage_guard_stuck", "1: less is free, and dropping old partitions would not help.", registry=r
        )
        self.partitions_dropped = Counter(
            "sonde_partitions_dropped", "Partitions dropped to keep the disk from filling.", ["table"], registry=r
        )
        self.rows_dropped = Counter(
            "sonde_partition_rows_dropped", "Rows in partitions that were dropped.", ["table"], registry=r
        )
        self.shared_peers = Counter(
            "sonde_shared_peers_reads", "How often it was read what other aggregators learned.", registry=r
        )
