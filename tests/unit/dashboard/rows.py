"""Rows with known answers: two services on three hosts, 30 minutes, durations kept so that NumPy can judge."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from sonde import sketch

#: Start of the data, a whole hour, a few hours ago: no TTL drops it.
BEGIN = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
BEGIN_S = int(BEGIN.timestamp())
STEPS = 180
PER_STEP = 37


def _sketch(durations: np.ndarray) -> dict[int, int]:
    keys, counts = np.unique(sketch.bucket(durations.astype(np.uint64)), return_counts=True)
    return {int(key): int(n) for key, n in zip(keys, counts, strict=True)}


def durations_of(step: int) -> np.ndarray:
    """ns of the requests that shop-api on host app finished in a step: lognormal, 37 of them."""
    return np.random.default_rng(step).lognormal(mean=15, sigma=1.2, size=PER_STEP).astype(np.uint64)


def stats() -> list[dict[str, Any]]:
    """request_stats_10s of 30 minutes: server rows at app and db, client rows at app; every 7th step has an error."""
    rows: list[dict[str, Any]] = []
    for step in range(STEPS):
        time = BEGIN + timedelta(seconds=10 * step)
        taken = durations_of(step)
        errors = 3 if step % 7 == 0 else 0
        for status, part in (("ok", taken[errors:]), ("server_error", taken[:errors])):
            if len(part):
                rows.append(
                    _total(time, "app", "shop-api", "server", "web", "nginx", "http1", "GET", "/cart", status, part)
                )
        fast = taken // 4
        rows.append(_total(time, "app", "shop-api", "client", "db", "mariadb", "mysql", "SELECT", "cart", "ok", fast))
        rows.append(_total(time, "db", "mariadb", "server", "app", "shop-api", "mysql", "SELECT", "cart", "ok", fast))
        rows.append(_total(time, "db", "mariadb", "server", "192.0.2.9", "192.0.2.9", "mysql", "SELECT", "report",
                           "client_error", fast[:2], estimated=1))  # fmt: skip
    return rows


def _total(
    time: datetime, host: str, service: str, role: str, remote_host: str, remote_service: str, protocol: str,
    operation: str, resource: str, status: str, taken: np.ndarray, estimated: int = 0,
) -> dict[str, Any]:  # fmt: skip
    total = int(taken.sum())
    parts = {"queue": total // 10, "receive": total // 20, "process": total // 2}
    parts["transfer"] = total - sum(parts.values())
    return {
        "time": time, "host": host, "service": service, "role": role, "remote_host": remote_host,
        "remote_service": remote_service, "protocol": protocol, "operation": operation, "resource": resource,
        "status": status, "requests": len(taken), "unsampled": 0, "estimated": estimated,
        "request_bytes": 100 * len(taken), "response_bytes": 1000 * len(taken), "duration_sum_ns": total,
        **{f"{name}_sum_ns": part for name, part in parts.items()},
        "duration": _sketch(taken), "queue": _sketch(taken // 10), "process": _sketch(taken // 2), "transfer": {},
    }  # fmt: skip


def request(start: datetime, role: str, duration_ns: int, exchange_id: int, **more: Any) -> dict[str, Any]:
    """One row of `requests`; at the server by default app's shop-api, at the client web's nginx."""
    here, there = (
        (("app", "shop-api"), ("web", "nginx")) if role == "server" else (("web", "nginx"), ("app", "shop-api"))
    )
    row = {
        "start": start, "host": here[0], "service": here[1], "role": role, "pid": 7, "comm": here[1],
        "local_ip": "::ffff:10.0.0.1", "local_port": 80, "remote_ip": "::ffff:10.0.0.2", "remote_port": 4242,
        "remote_host": there[0], "remote_service": there[1], "protocol": "http1", "operation": "GET",
        "resource": "/cart", "statement_id": 0, "statement": "GET /cart?id=?", "statement_truncated": 0,
        "status": "ok", "status_code": "200", "duration_ns": duration_ns, "queue_ns": 0, "receive_ns": 0,
        "process_ns": duration_ns, "transfer_ns": 0, "gap_ns": 0, "queue_exact": 1, "request_bytes": 120,
        "response_bytes": 4567, "ended_by": "framing", "tls": 0, "exchange_id": exchange_id, "connection_id": 9,
        "weight": 1, "attributes": {}, "replay": 0,
    }  # fmt: skip
    return row | more


def requests() -> list[dict[str, Any]]:
    """A joined pair with a full split, a server row alone, a client row alone, a one-way and an unanswered row."""
    at = BEGIN + timedelta(seconds=65)
    ms = 1_000_000
    return [
        request(at, "client", 240 * ms, 77, queue_ns=5 * ms, receive_ns=1 * ms, process_ns=232 * ms,
                transfer_ns=2 * ms, gap_ns=40 * ms),
        request(at + timedelta(milliseconds=1), "server", 231 * ms, 77, queue_ns=80 * ms, receive_ns=0,
                process_ns=150 * ms, transfer_ns=1 * ms),
        request(at, "server", 90 * ms, 78, queue_ns=10 * ms, process_ns=70 * ms, receive_ns=4 * ms, transfer_ns=6 * ms),
        request(at, "client", 50 * ms, 0, queue_ns=1 * ms, process_ns=45 * ms, transfer_ns=4 * ms,
                status="server_error", status_code="500"),
        request(at, "client", 900 * ms, 0, status="one_way"),
        request(at, "client", 30 * ms, 0, status="no_response", status_code="", process_ns=0, ended_by="close",
                local_port=81),
    ]  # fmt: skip


def hosts(now: datetime) -> list[dict[str, Any]]:
    base = {"kernel": "6.1.0", "os": "Debian 12", "addresses": ["10.0.0.1"], "agent_version": "0.1.0",
            "tags": {"env": "t"}, "agent_started": BEGIN, "first_seen": BEGIN}  # fmt: skip
    return [
        base | {"host": "app", "replay": 0, "last_seen": now},
        base | {"host": "db", "replay": 1, "last_seen": now - timedelta(minutes=10)},
        base | {"host": "web", "replay": 0, "last_seen": now},
    ]


def agent_stats() -> list[dict[str, Any]]:
    base = {"interval_ns": 10**10, "events": 100, "lost_in_kernel": 0, "lost_in_agent": 0, "unmatched": 0,
            "unparsed": 0, "spooled_bytes": 0, "dropped_batches": 0, "cpu_ns": 0, "kernel_ns": 0, "rss_bytes": 0,
            "probe_runs": 0, "details": {}}  # fmt: skip
    at = BEGIN + timedelta(seconds=30)
    return [
        base | {"time": at, "host": "app", "probe": "requests", "lost_in_kernel": 11, "unmatched": 3},
        base | {"time": at, "host": "app", "probe": "agent", "cpu_ns": 10**8, "lost_in_agent": 2},
        base | {"time": at, "host": "db", "probe": "requests", "unparsed": 5, "dropped_batches": 1},
    ]


def in_flight(now: datetime) -> list[dict[str, Any]]:
    return [
        {"time": now, "nothing": 0, "start": now - timedelta(seconds=7), "age_ns": 7 * 10**9, "host": "app",
         "service": "shop-api", "role": "client", "pid": 7, "comm": "shop", "local_ip": "::1", "local_port": 1,
         "remote_ip": "::1", "remote_port": 2, "remote_host": "db", "remote_service": "mariadb", "protocol": "mysql",
         "operation": "SELECT", "resource": "cart", "statement_id": 1, "statement": "SELECT SLEEP(?)",
         "request_bytes": 20, "connection_id": 1},
    ]  # fmt: skip
