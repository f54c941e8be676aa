"""What the fleet told, read from the store: once at the start, and again and again where aggregators share a store.

Behind one name, the two ends of a connection may deliver to two aggregators. Each then reads every peers.refresh_s
what the others wrote in the last minutes: hosts, listening sockets, ends of connections. A client's end usually needs
no more than the endpoints; its batch is stored, and so the server's end finds it. A failure is logged and tried again:
until then links go `~unknown`, counted, as ever.
"""

from __future__ import annotations

import threading

from aggregator.analysis.peers import Peers, packed_addresses
from aggregator.config import Peers as PeersSettings
from aggregator.metrics import Metrics
from aggregator.storage.client import Store
from sonde import logs
from sonde.errors import StoreError

_log = logs.get(__name__)

_HOSTS_S, _OTHERS_S = 86_400, 3_600
#: What is read again each time: long enough for a slow insert of another aggregator.
_AGAIN_S = 120
#: A look in work may hang on the store; the process ends all the same.
_STOP_S = 2.0


def load(peers: Peers, store: Store, limit: int, hosts_s: int = _HOSTS_S, others_s: int = _OTHERS_S) -> None:
    """Hosts, endpoints and at most `limit` ends of connections of the last seconds.

    Raises:
        StoreError: the store cannot be read.
    """
    hosts = store.rows("recent_hosts", {"seconds": hosts_s})
    for host, addresses in hosts:
        peers.learn_host(host, packed_addresses(addresses), settled=True)
    for host, address, port, service in store.rows("recent_endpoints", {"seconds": others_s}):
        peers.learn_endpoint(host, bytes(address), port, service)
    for connection, role, host, service in reversed(store.rows("recent_ends", {"limit": limit, "seconds": others_s})):
        peers.learn_end(connection, role, host, service)


class SharedPeers:
    """A thread that keeps `peers` fresh where other aggregators write the same store."""

    def __init__(self, peers: Peers, store: Store, settings: PeersSettings, metrics: Metrics) -> None:
        """Load once.

        Raises:
            StoreError: the store cannot be read.
        """
        self._peers, self._store, self._settings, self._metrics = peers, store, settings, metrics
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shared-peers", daemon=True)
        load(peers, store, settings.connections)
        if store.rows("recent_hosts", {"seconds": _HOSTS_S}):
            peers.settle()

    def start(self) -> None:
        """Read again from now on; an embedded store has no other writer."""
        if not self._store.url.embedded:
            self._thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.refresh_s):
            try:
                load(self._peers, self._store, self._settings.connections, _AGAIN_S, _AGAIN_S)
                self._metrics.shared_peers.inc()
            except StoreError as error:
                _log.warning("what other aggregators learned cannot be read", error=str(error))
