"""Which tenant each host belongs to, written before the first batch of its agent is accepted.

Holds: no row of a host under a certificate with a tenant is in the store before the host's tenant is; a host without a
tenant is shown to no tenant. A host that moves to another tenant takes its older rows along.
"""

from __future__ import annotations

import threading
import time

import pyarrow as pa

from aggregator.storage.client import Store


class Tenants:
    """Hosts and tenants; thread-safe."""

    def __init__(self, store: Store) -> None:
        """Read what is known; raises StoreError."""
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, str] = dict(store.rows("host_tenants"))

    def tell(self, host: str, tenant: str) -> None:
        """`host` is of `tenant` ('' none), which is in the store when this returns.

        Raises:
            StoreError: it could not be written.
        """
        with self._lock:
            if self._known.get(host, "") == tenant:
                return
            now_ns = time.time_ns()
            row = pa.table(
                {
                    "time": pa.array([now_ns // 1000], pa.timestamp("us", "UTC")),
                    "host": [host],
                    "tenant": [tenant],
                }
            )
            self._store.insert("host_tenants", row, f"tenant/{host}/{now_ns}")
            self._known[host] = tenant
