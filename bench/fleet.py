"""A synthetic fleet: what its agents would send, second by second, with both ends of every request agreeing.

Gateways answer the outside, ask four API services, and those ask MySQL, Redis and each other. Hosts are shared out so
that each sees about as many rows. Names follow Zipf's law, times are lognormal with one slow request in a hundred,
ids are random; rows are grouped by protocol and then in the order of their end, as the kernel's rings give them.
No step loops over requests. The same seed gives the same fleet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from proto import sonde_pb2 as pb
from sonde import batches
from sonde.ids import mix64

Array = npt.NDArray[Any]

SERVICES = {"nginx": 14, "orders": 14, "users": 14, "search": 11, "carts": 11, "mariadbd": 14, "redis-server": 22}
PORTS = {"nginx": 443, "mariadbd": 3306, "redis-server": 6379}
_APIS = ("orders", "users", "search", "carts")
_TICKS_A_US = 10
_CONNECTIONS = 40  # of one client host in one flow
_LONG_AGO_US = 3_600_000_000


@dataclass(frozen=True)
class Operation:
    """One kind of request."""

    operation: str
    resource: str
    statement: str
    median_us: float
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True)
class Flow:
    """Who asks whom, how often for one request from outside, and what for."""

    client: str
    server: str
    weight: float
    protocol: int
    operations: tuple[Operation, ...]


def _routes(service: str) -> tuple[Operation, ...]:
    out = []
    for number, thing in enumerate(("items", "lists", "owners", "states", "offers", "notes", "prices", "places")):
        path = f"/api/{service}/{thing}"
        out += [
            Operation("GET", f"{path}/:id", "", 2_000 + 500 * number, 320, 1_400),
            Operation("GET", path, "", 6_000 + 900 * number, 300, 9_000),
            Operation("POST", path, "", 9_000 + 700 * number, 800, 400),
        ]
    return tuple(out)


def _statements(service: str) -> tuple[Operation, ...]:
    out = []
    for number, table in enumerate(("items", "lists", "owners", "states", "offers")):
        name = f"{service}_{table}"
        some = "id, owner_id, title, state, price, created_at, updated_at"
        out += [
            Operation("SELECT", name, f"SELECT {some} FROM {name} WHERE id = ?", 250 + 40 * number, 140, 260),
            Operation(
                "SELECT", name, f"SELECT {some} FROM {name} WHERE owner_id = ? AND state IN (?) ORDER BY created_at "
                "DESC LIMIT ?", 1_100 + 300 * number, 210, 4_200,
            ),
            Operation("UPDATE", name, f"UPDATE {name} SET state = ?, updated_at = ? WHERE id = ?", 900, 130, 60),
            Operation("INSERT", name, f"INSERT INTO {name} (owner_id, title, price) VALUES (?)", 1_300, 160, 40),
        ]  # fmt: skip
    return tuple(out)


def _keys(service: str) -> tuple[Operation, ...]:
    out = []
    for thing in ("session", "item", "count", "flags"):
        key = f"{service}:{thing}:*"
        out += [
            Operation("GET", key, "", 70, 48, 120),
            Operation("SET", key, "", 85, 190, 5),
            Operation("HGETALL", key, "", 120, 52, 900),
        ]
    return tuple(out)


def flows() -> tuple[Flow, ...]:
    """All of them; client "" is the outside."""
    everything = tuple(route for api in _APIS for route in _routes(api))
    out = [Flow("", "nginx", 1.0, pb.HTTP1, everything)]
    for number, api in enumerate(_APIS):
        share = (0.28, 0.28, 0.22, 0.22)[number]
        out += [
            Flow("nginx", api, share, pb.HTTP1, _routes(api)),
            Flow(api, _APIS[(number + 1) % len(_APIS)], share / 2, pb.HTTP1, _routes(_APIS[(number + 1) % len(_APIS)])),
            Flow(api, "mariadbd", share * 2, pb.MYSQL, _statements(api)),
            Flow(api, "redis-server", share * 3, pb.REDIS, _keys(api)),
        ]
    return tuple(out)


def _ipv4(high: Array, low: Array) -> Array:
    """10.high.low.1-ish addresses as 16 bytes, shape (n, 16)."""
    out = np.zeros((len(high), 16), dtype=np.uint8)
    out[:, 10:12] = 255
    out[:, 12], out[:, 13], out[:, 14], out[:, 15] = 10, high, low >> 8, low & 255
    return out


class Fleet:
    """`names` of the hosts, and their batches."""

    def __init__(self, hosts: int, rows_per_second: int, seed: int = 1, outside: int = 150) -> None:
        """`rows_per_second` over all hosts; `outside` connections from outside at each gateway."""
        if hosts < len(SERVICES):
            raise ValueError(f"a fleet has at least {len(SERVICES)} hosts, one a service")
        self._random = np.random.default_rng(seed)
        self._rows = rows_per_second
        shares = np.cumsum([0, *SERVICES.values()]) / sum(SERVICES.values())
        place = np.searchsorted(shares, (np.arange(hosts) + 0.5) / hosts, side="right") - 1
        for number in range(len(SERVICES)):  # every service has a host, however small the fleet
            if number not in place:
                place[np.argmax(place == np.bincount(place).argmax())] = number
        services = list(SERVICES)
        self._service = [services[one] for one in place]
        self.names = [f"{service}-{number:03d}" for number, service in enumerate(self._service)]
        self._addresses = _ipv4(np.full(hosts, 1), np.arange(hosts) + 1)
        self._pids = self._random.integers(400, 60_000, (hosts, 4))
        self._flows = flows()
        self._operations = [one for flow in self._flows for one in flow.operations]
        self._connect(outside)

    def _hosts(self, service: str) -> list[int]:
        return [number for number, one in enumerate(self._service) if one == service]

    def _connect(self, outside: int) -> None:
        """Columns of all connections: client and server host (-1: outside), flow."""
        clients, servers, flow_of = [], [], []
        for number, flow in enumerate(self._flows):
            heads = self._hosts(flow.client) if flow.client else []
            tails = self._hosts(flow.server)
            ends = np.repeat(heads, _CONNECTIONS) if heads else np.full(outside * len(tails), -1)
            near = self._random.choice(tails, len(ends))
            if flow.client == flow.server or not len(ends):
                continue
            clients.append(ends)
            servers.append(near)
            flow_of.append(np.full(len(ends), number))
        self._client, self._server = np.concatenate(clients), np.concatenate(servers)
        self._flow = np.concatenate(flow_of)
        count = len(self._client)
        self._id = self._random.integers(1, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._port = self._random.integers(32_768, 61_000, count)
        self._worker = self._random.integers(0, 4, (2, count))
        self._offset = self._random.integers(0, 1 << 22, count).astype(np.uint64)
        self._ends = [
            np.concatenate([np.flatnonzero(self._client == host) * 2, np.flatnonzero(self._server == host) * 2 + 1])
            for host in range(len(self.names))
        ]
        self._outside = _ipv4(np.full(count, 200), self._random.integers(1, 60_000, count))

    def second(self, number: int, begin_us: int) -> list[pb.Batch]:
        """One batch a host, of what ended within the second `number` after `begin_us`; call with 0, 1, 2, ..."""
        exchanges = self._exchanges(begin_us + number * 1_000_000)
        out = []
        for host in range(len(self.names)):
            out.append(self._batch(host, number, begin_us + (number + 1) * 1_000_000, begin_us, exchanges))
        return out

    def _exchanges(self, now_us: int) -> dict[str, Array]:
        """Columns of all requests of a second, both ends side by side; durations in units of 100 ns."""
        random = self._random
        weights = np.array([flow.weight for flow in self._flows])
        rows = np.where([flow.client == "" for flow in self._flows], 1, 2)
        counts = random.poisson(self._rows * weights / (weights * rows).sum())
        connection, operation, first = [], [], 0
        for number, flow in enumerate(self._flows):
            of = np.flatnonzero(self._flow == number)
            popular = 1.0 / (np.arange(len(of)) + 3.0) ** 0.5
            connection.append(random.choice(of, counts[number], p=popular / popular.sum()))
            popular = 1.0 / (np.arange(len(flow.operations)) + 1.0)
            operation.append(first + random.choice(len(flow.operations), counts[number], p=popular / popular.sum()))
            first += len(flow.operations)
        out: dict[str, Array] = {"connection": np.concatenate(connection), "operation": np.concatenate(operation)}
        self._time(out, now_us)
        order = np.argsort(out["end"], kind="stable")
        return {name: column[order] for name, column in out.items()}

    def _lognormal(self, median_us: Any, sigma: float, count: int) -> npt.NDArray[np.int64]:
        return (median_us * _TICKS_A_US * np.exp(sigma * self._random.standard_normal(count))).astype(np.int64)

    def _time(self, out: dict[str, Array], now_us: int) -> None:
        random, count = self._random, len(out["operation"])
        kinds = self._operations
        median = np.array([kind.median_us for kind in kinds])[out["operation"]]
        slow = np.where(random.random(count) < 0.01, 12.0, 1.0)
        rarely = random.random((2, count))
        out["server_queue"] = self._lognormal(9, 0.8, count)
        out["server_receive"] = np.where(rarely[0] < 0.03, self._lognormal(120, 0.7, count), 0)
        out["server_process"] = self._lognormal(median * slow, 0.55, count)
        out["server_transfer"] = self._lognormal(7, 0.4, count)
        out["client_receive"] = self._lognormal(9, 0.4, count)
        served = out["server_queue"] + out["server_receive"] + out["server_process"]
        out["client_process"] = served + self._lognormal(110, 0.5, count)
        out["client_queue"] = self._lognormal(14, 0.9, count)
        out["client_transfer"] = np.where(rarely[1] < 0.1, self._lognormal(60, 0.6, count), 0)
        out["gap"] = self._lognormal(40_000, 1.5, count)
        out["end"] = now_us + random.integers(0, 1_000_000, count)
        base = np.array([[kind.request_bytes, kind.response_bytes] for kind in kinds])[out["operation"]]
        more = np.exp(0.35 * random.standard_normal((count, 2)))
        out["request_bytes"], out["response_bytes"] = (base * (0.8 + 0.2 * more)).astype(np.int64).T
        order = np.lexsort((out["end"], out["connection"]))
        connection, length = out["connection"][order], out["request_bytes"][order]
        before = np.cumsum(length) - length
        new = np.flatnonzero(np.diff(connection, prepend=-1))
        before -= np.repeat(before[new], np.diff(new, append=len(connection)))
        out["offset"] = np.empty(count, dtype=np.uint64)
        out["offset"][order] = self._offset[connection] + before.astype(np.uint64)
        np.add.at(self._offset, out["connection"], out["request_bytes"].astype(np.uint64))
        chance = random.random(count)
        out["status"] = np.where(chance < 0.985, pb.OK, np.where(chance < 0.996, pb.CLIENT_ERROR, pb.SERVER_ERROR))

    def _batch(self, host: int, number: int, now_us: int, begin_us: int, all_: dict[str, Array]) -> pb.Batch:
        batch, strings = pb.Batch(), {"": 0}
        text = lambda one: strings.setdefault(one, len(strings))  # noqa: E731
        self._describe(batch.host, host, now_us, begin_us)
        at_client = np.flatnonzero(self._client[all_["connection"]] == host)
        at_server = np.flatnonzero(self._server[all_["connection"]] == host)
        row = np.concatenate([at_client, at_server])
        server = np.repeat([0, 1], [len(at_client), len(at_server)])
        some = {name: column[row] for name, column in all_.items()}
        protocol = np.array([flow.protocol for flow in self._flows])[self._flow[some["connection"]]]
        order = np.lexsort((some["end"], protocol))
        some = {name: column[order] for name, column in some.items()}
        server, protocol = server[order], protocol[order]
        everything = self._ends[host]  # found when the agent starts, then reported once a minute
        due = everything[self._random.random(len(everything)) < (1.0 if number == 0 else 1 / 60)]
        own = some["connection"] * 2 + server
        link = self._links(batch, host, np.concatenate([own, due]), text)
        if len(row):
            batches.fill("requests", batch.requests, self._requests(some, server, protocol, link[: len(own)], text))
            if number == 0:
                self._statements(batch, some["operation"], text)
        if len(due):
            batches.fill("connections", batch.connections, self._connections(link[len(own) :], now_us))
        if number % 10 == 0:
            self._say(batch, host, now_us, text)
        batch.strings.extend(strings)
        return batch

    def _describe(self, message: pb.Host, host: int, now_us: int, begin_us: int) -> None:
        message.name, message.kernel, message.os = self.names[host], "6.1.0-28-amd64", "Debian GNU/Linux 12 (bookworm)"
        message.agent_version, message.seen_us, message.started_us = "0.1.0", now_us, begin_us - _LONG_AGO_US
        message.addresses.append(".".join(map(str, self._addresses[host, 12:])))
        message.tags.update({"group": self._service[host], "zone": "abc"[host % 3], "stage": "production"})

    def _links(self, batch: pb.Batch, host: int, end: Array, text: Any) -> Array:
        """Fills links with the distinct ends (connection * 2, + 1 at the server); each row's link."""
        ends, link = np.unique(end, return_inverse=True)
        connection, server = ends // 2, ends % 2
        service = text(self._service[host])
        near = self._addresses[host][None].repeat(len(ends), axis=0)
        far = np.where(server, self._client[connection], self._server[connection])
        away = np.where((far >= 0)[:, None], self._addresses[far], self._outside[connection])
        listen = np.array([PORTS.get(flow.server, 8080) for flow in self._flows])[self._flow[connection]]
        own = self._port[connection]
        columns = {
            "role": np.where(server, pb.SERVER, pb.CLIENT), "pid": self._pids[host][self._worker[server, connection]],
            "service": np.full(len(ends), service), "comm": np.full(len(ends), service),
            "local_ip": near, "remote_ip": away, "local_port": np.where(server, listen, own),
            "remote_port": np.where(server, own, listen), "connection_id": self._id[connection],
        }  # fmt: skip
        if len(ends):
            batches.fill("links", batch.links, columns)
        return link

    def _requests(self, some: dict[str, Array], server: Array, protocol: Array, link: Array, text: Any) -> Any:
        kinds, of = self._operations, some["operation"]
        distinct, inverse = np.unique(of, return_inverse=True)
        names = {
            name: np.array([text(getattr(kinds[one], name)) for one in distinct])[inverse]
            for name in ("operation", "resource", "statement")
        }
        parts = {
            part: np.where(server, some[f"server_{part}"], some[f"client_{part}"])
            for part in ("queue", "receive", "process", "transfer")
        }
        duration = sum(parts.values())
        http = protocol == pb.HTTP1
        code = np.array([text(one) for one in ("", "200", "404", "500")])
        statement_id = mix64((of + 1).astype(np.uint64))
        statement_id[protocol != pb.MYSQL] = 0
        return {
            **names, **parts, "link": link, "protocol": protocol, "statement_id": statement_id,
            "status": some["status"], "status_code": np.where(http, code[np.minimum(some["status"], 3)], code[0]),
            "duration": duration, "gap": np.where(server, 0, some["gap"]),
            "start": some["end"] - duration // _TICKS_A_US,
            "request_bytes": some["request_bytes"], "response_bytes": some["response_bytes"],
            "ended_by": np.full(len(of), pb.FRAMING), "offset": some["offset"], "weight": np.ones(len(of)),
            "flags": np.zeros(len(of)),
        }  # fmt: skip

    def _statements(self, batch: pb.Batch, operations: Array, text: Any) -> None:
        known = [one for one in np.unique(operations).tolist() if self._operations[one].statement]
        if known:
            columns = {
                "statement_id": mix64(np.array(known, dtype=np.uint64) + np.uint64(1)),
                "protocol": np.full(len(known), pb.MYSQL),
                "text": np.array([text(self._operations[one].statement) for one in known]),
            }
            batches.fill("statements", batch.statements, columns)

    def _connections(self, due: Array, now_us: int) -> dict[str, Array]:
        count, random = len(due), self._random
        columns = {name: np.zeros(count, dtype=np.uint64) for name in batches.SECTIONS["connections"]}
        columns |= {
            "link": due, "time": np.full(count, now_us), "outcome": np.full(count, pb.OPEN),
            "opened": now_us - random.integers(0, _LONG_AGO_US, count), "rtt": random.integers(90, 400, count),
            "min_rtt": random.integers(60, 90, count), "bytes_sent": random.integers(1_000, 1 << 28, count),
            "bytes_received": random.integers(1_000, 1 << 28, count),
        }  # fmt: skip
        return columns

    def _say(self, batch: pb.Batch, host: int, now_us: int, text: Any) -> None:
        """Listening sockets and the agent's own figures, once in ten seconds."""
        service = self._service[host]
        columns: dict[str, Array] = {
            "address": np.zeros((1, 16), dtype=np.uint8), "port": np.array([PORTS.get(service, 8080)]),
            "service": np.array([text(service)]), "pid": self._pids[host][:1],
        }  # fmt: skip
        batches.fill("endpoints", batch.endpoints, columns)
        probes = ("agent", "connections", "requests")
        columns = {name: np.zeros(len(probes), dtype=np.uint64) for name in batches.SECTIONS["agent_stats"]}
        columns |= {
            "probe": np.array([text(one) for one in probes]), "time": np.full(3, now_us),
            "interval": np.full(3, 10_000_000), "events": self._random.integers(0, 15_000, 3),
            "cpu": np.array([self._random.integers(1 << 28), 0, 0]), "rss": np.array([120_000_000, 0, 0]),
        }  # fmt: skip
        batches.fill("agent_stats", batch.agent_stats, columns)
        batch.agent_stats.details.extend(pb.StatDetails(counts={}) for _ in probes)
