"""The aggregator as one program: opens the store, starts the ports, and stops in an order that loses nothing.

Start: store, schema, ledger and peers from the store, the journal's blocks once more, then SQL, API, and gRPC last, so
that whoever can deliver is answered. Stop (SIGTERM, SIGINT): new and waiting batches are put
off, those in work are inserted and answered within drain_s, then the streams, the ports and the store close. What was
not acknowledged is sent again by its agent. A second signal ends the process at once, which loses nothing either.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from aggregator.analysis.halves import Halves
from aggregator.analysis.peers import Peers
from aggregator.analysis.shared_peers import SharedPeers
from aggregator.api.app import ApiApp
from aggregator.config import AggregatorSettings
from aggregator.ingest.journal import Journal
from aggregator.ingest.ledger import Ledger
from aggregator.ingest.pipeline import Pipeline
from aggregator.ingest.service import IngestServer
from aggregator.ingest.writer import Writer
from aggregator.metrics import Metrics
from aggregator.storage import migrations
from aggregator.storage.client import Store, parse
from aggregator.storage.disk_guard import DiskGuard
from aggregator.storage.late import LateRows
from aggregator.storage.sql_engine import Engine
from aggregator.storage.sql_http import SqlApp
from aggregator.storage.sql_token import tokens
from aggregator.storage.tenants import Tenants
from aggregator.web import WebServer
from sonde import __version__, logs
from sonde.notify import Watchdog, notify
from sonde.stopping import on_signal

_log = logs.get(__name__)

_STOP_GRACE_S = 2.0
_API_THREADS = 2
_API_BODY_BYTES = 65_536
_SPARE_SQL_THREADS = 4


class Aggregator:
    """All parts, started and stopped together."""

    def __init__(self, settings: AggregatorSettings) -> None:
        """Open the store and bind the ports.

        Raises:
            SondeError: the store or a port cannot be had.
        """
        self.metrics = Metrics(settings.api)
        self._store = Store(parse(settings.storage.url), settings.storage.memory_bytes, settings.storage.cluster)
        applied = migrations.migrate(self._store)
        migrations.set_retention(self._store, settings.storage.retention_days)
        _log.info("store open", embedded=self._store.url.embedded, schema_files_applied=applied)
        self._store.inserted = LateRows(settings.storage.retention_days, self.metrics).count
        self._guard = DiskGuard(self._store, settings.storage.guard, self.metrics)
        peers = Peers(settings.peers)
        self._shared_peers = SharedPeers(peers, self._store, settings.peers, self.metrics)
        writer = Writer(self._store, settings.limits)
        journal = Journal(journal_folder(settings)) if self._store.url.embedded else None
        self._pipeline = Pipeline(settings, peers, Ledger(self._store), writer, self.metrics, journal)
        self._web = [
            WebServer("api", ApiApp(self.metrics, self._not_ready), settings.api.listen, _API_THREADS, _API_BODY_BYTES)
        ]
        if self._store.url.embedded:
            app = SqlApp(Engine(self._store, settings.sql), settings.sql, tokens(settings.sql), self.metrics)
            threads = settings.sql.max_concurrent * 2 + _SPARE_SQL_THREADS
            self._web.append(WebServer("sql", app, settings.sql.listen, threads, settings.sql.max_query_bytes))
        self._halves = Halves(settings.halves, peers, self.metrics)
        tenants = Tenants(self._store)
        self._ingest = IngestServer(settings, self._pipeline, self.metrics, self._halves, tenants)
        self._drain_s = settings.drain_s
        self._state = "starting"

    def _not_ready(self) -> str:
        full = "limits.pending_bytes of batches wait for their insert" if self._pipeline.full else ""
        return self._state or self._pipeline.trouble or full

    def start(self) -> None:
        """Serve on all ports."""
        self._pipeline.start()
        self._guard.start()
        self._shared_peers.start()
        self._halves.start()
        for server in self._web:
            server.start()
        self._ingest.start()
        self._state = ""

    def stop(self) -> bool:
        """Answer what is in work, then close everything; False if drain_s was too short for that.

        Then inserts still run and the store cannot be closed: end the process. Their blocks are in the journal, their
        agents send again what was not answered.
        """
        self._state = "stopping"
        self._halves.stop()
        drained = self._pipeline.stop(self._drain_s)
        self._ingest.stop(_STOP_GRACE_S)
        for server in self._web:
            server.stop()
        self._guard.stop()
        self._shared_peers.stop()
        if drained:
            self._store.close()
        return drained


def journal_folder(settings: AggregatorSettings) -> Path:
    """Where the journal of an embedded store is."""
    return Path(settings.storage.journal or parse(settings.storage.url).path + ".journal")


def run(settings: AggregatorSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SondeError: the store or a port cannot be had.
    """
    stop = threading.Event()
    on_signal(stop.set)
    aggregator = Aggregator(settings)
    aggregator.start()
    sql = settings.sql.listen if settings.storage.url.startswith("chdb:") else "at the server itself"
    _log.info("ready", version=__version__, agents=settings.grpc.listen, sql=sql, metrics=settings.api.listen)
    watchdog = Watchdog()
    notify("READY=1", f"STATUS=agents {settings.grpc.listen}, SQL {sql}")
    while not stop.wait(watchdog.seconds or None):
        watchdog.beat()
    notify("STOPPING=1")
    _log.info("stopping", drain_s=settings.drain_s)
    if aggregator.stop():
        _log.info("stopped")
        return
    _log.warning("stopped before all inserts ended; what is missing is in the journal or is sent again")
    os._exit(0)
