"""Batches whose every row bears its number: what agent `agent` sends as its batch `number`, and what must be stored.

Invariants: (agent, number, base) decides every value, so that the checker needs no copy of what was sent; a row's
number, `code`, stands in a column that reaches the store exactly (`request_bytes`, `bytes_sent`, `events`); no two
rows have one code; a batch has a resource and a statement of its own, so that a roll-up shows which batch it lost.
Rows lie within the last minute, and one in five some hours back: data that comes late. One in four is not sent as a
row: it stands in the section `unsampled`, with the end of the connection of the row three before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.delivery.encoder import Encoder, Interval, Unsampled
from node_agent.identity.processes import Process
from proto import sonde_pb2 as pb
from sonde import batches
from sonde.ids import mix64
from sonde.sketches import Buckets

U64 = npt.NDArray[np.uint64]
Columns = dict[str, npt.NDArray[Any]]

#: One batch in so many is larger than the aggregator takes, in runs that ask for it; its rows, at least.
REFUSED_EVERY, TOO_MANY_ROWS = 17, 260
_ROWS, _MORE_ROWS = 5, 26
_CONNECTIONS = 2
_TEXTS = ("", "GET", "POST", "QUERY", "200", "500")
_GET, _QUERY, _CODE_200, _CODE_500 = 1, 3, 4, 5
_RESOURCE = len(_TEXTS)
_CLIENT, _SERVER = f"{'front':<16}".encode(), f"{'back':<16}".encode()


def name_of(agent: int) -> str:
    """The host's name."""
    return f"host{agent}"


def code_of(agent: int, number: int, row: int = 0) -> int:
    """The number of a row; below 2^40."""
    return agent << 36 | number << 12 | row


def batch_of(code: int) -> tuple[int, int]:
    """(agent, number) of a row's code."""
    return code >> 36, code >> 12 & 0xFFFFFF


def statement_of(agent: int, number: int) -> int:
    """Statement of a batch; never 0."""
    return int(mix64(np.array([code_of(agent, number)], dtype=np.uint64))[0]) or 1


def is_refused(number: int, refusing: bool) -> bool:
    """Whether this batch is one that the aggregator refuses for good."""
    return refusing and number % REFUSED_EVERY == 3


def row_count(agent: int, number: int, refusing: bool) -> int:
    """Requests of a batch."""
    if is_refused(number, refusing):
        return TOO_MANY_ROWS
    return _ROWS + statement_of(agent, number) % _MORE_ROWS


def is_hidden(row: Any) -> Any:
    """Whether a request is counted and has no row; of numbers or arrays of them."""
    return row % 4 == 3


def requests(agent: int, number: int, base_us: int, refusing: bool) -> Columns:
    """Requests of a batch sealed at `base_us` (Unix us), in the wire's units; texts index `texts`, shape (rows,)."""
    count = row_count(agent, number, refusing)
    row = np.arange(count, dtype=np.uint64)
    code = np.uint64(code_of(agent, number)) + row
    random = mix64(code)
    mysql = row % 2 == 0
    duration = random % np.uint64(50_000_000)
    failed = random % np.uint64(7) == 0
    late_us = np.where(row % 5 == 4, (random % np.uint64(5) + np.uint64(1)) * np.uint64(3_600_000_000), 0)
    return {
        "protocol": np.where(mysql, pb.MYSQL, pb.HTTP1).astype(np.uint64),
        "operation": np.where(mysql, _QUERY, _GET + row % 4 // 2).astype(np.uint64),
        "resource": np.full(count, _RESOURCE, dtype=np.uint64),
        "statement_id": np.where(mysql, np.uint64(statement_of(agent, number)), np.uint64(0)),
        "statement": np.where(mysql, _RESOURCE + 1, 0).astype(np.uint64),
        "status": np.where(failed, pb.SERVER_ERROR, pb.OK).astype(np.uint64),
        "status_code": np.where(failed, _CODE_500, _CODE_200).astype(np.uint64),
        "start": np.uint64(base_us) - late_us.astype(np.uint64) - random % np.uint64(60_000_000),
        "duration": duration,
        "queue": duration // np.uint64(3), "receive": duration // np.uint64(5), "process": duration // np.uint64(7),
        "transfer": duration // np.uint64(11), "gap": random % np.uint64(1000),
        "request_bytes": code, "response_bytes": random % np.uint64(100_000),
        "ended_by": np.full(count, pb.FRAMING, dtype=np.uint64),
        "offset": row * np.uint64(100),
        "weight": np.select([random % 11 == 0, (random % 13 == 0) & ~is_hidden(row)], [3, 0], 1).astype(np.uint64),
        "flags": np.zeros(count, dtype=np.uint64),
    } | _links(agent, np.where(is_hidden(row), row - row % 4, row))  # fmt: skip


def texts(number: int) -> list[str]:
    """The strings that `requests` points into."""
    return [*_TEXTS, f"/{number}", f"SELECT {number}"]


def connections(agent: int, number: int, base_us: int) -> Columns:
    """Reports of the batch's connections, in the wire's units."""
    row = np.arange(_CONNECTIONS, dtype=np.uint64)
    columns: Columns = {name: np.zeros(_CONNECTIONS, dtype=np.uint64) for name in batches.SECTIONS["connections"]}
    columns |= {"time": np.full(_CONNECTIONS, base_us, dtype=np.uint64), "outcome": row * 0 + np.uint64(pb.OPEN)}
    columns["bytes_sent"] = np.uint64(code_of(agent, number)) + row
    del columns["link"]
    return columns | _links(agent, row)


def stats(agent: int, number: int, base_us: int) -> dict[str, Any]:
    """The batch's row of agent_stats."""
    return {"probe": "chaos", "time": base_us, "interval": 1_000_000, "events": code_of(agent, number)}


def is_client(row: U64) -> npt.NDArray[np.bool_]:
    """Whether a row is the client's end; shape (rows,)."""
    return row % 3 != 0


def service_of(client: bool) -> str:
    """The service that a row belongs to."""
    return "front" if client else "back"


def _links(agent: int, row: U64) -> Columns:
    """Even rows speak to the next agent and the one before, some to a peer outside the fleet."""
    client = is_client(row)
    outside = row % 9 == 4
    first = np.where(client, agent, agent - 1).astype(np.int64)  # the connection's client
    identity = np.where(outside, 0, (first % 64 + 1) << 32 | 77).astype(np.uint64)
    near, far = _address(10, agent), _address(10, agent + 1)
    remote = np.array([_address(203, 1) if out else far for out in outside.tolist()])
    return {
        "connection": np.where(outside, 99, first % 64 + 1).astype(np.uint64), "connection_id": identity,
        "role": np.where(client, pb.CLIENT, pb.SERVER).astype(np.uint64),
        "pid": np.where(client, 100, 200).astype(np.uint64),
        "comm": np.where(client, _CLIENT, _SERVER),
        "local_ip": np.tile(near, (len(row), 1)), "local_port": np.where(client, 40_000, 80).astype(np.uint64),
        "remote_ip": remote, "remote_port": np.where(client, 80, 40_000).astype(np.uint64),
    }  # fmt: skip


def _unsampled(rows: Columns) -> Unsampled:
    """Exact sums, one for each request."""
    weight = rows["weight"]
    columns = {name: column for name, column in rows.items() if name not in ("weight", "offset", "flags", "ended_by")}
    columns |= {"requests": weight, "time": rows["start"] + rows["duration"] // 10}
    for name in ("request_bytes", "response_bytes", "duration", "queue", "receive", "process", "transfer"):
        columns[name] = rows[name] * weight
    buckets = {name: Buckets.of(rows[name] * 100, weight) for name in batches.SKETCHES}
    return Unsampled(columns, buckets)


def _address(first: int, last: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"\0" * 10 + b"\xff\xff" + bytes([first, 77, 0, last % 250 + 1]), dtype=np.uint8)


def encode(agent: int, number: int, base_us: int, refusing: bool) -> pb.Batch:
    """The batch, by the agent's own encoder."""
    every = requests(agent, number, base_us, refusing)
    hidden = is_hidden(every["request_bytes"])
    interval = Interval(
        requests=[{name: column[~hidden] for name, column in every.items()}],
        unsampled=_unsampled({name: column[hidden] for name, column in every.items()}),
        connections=[connections(agent, number, base_us)],
        agent_stats=[stats(agent, number, base_us)],
    )
    host = pb.Host(name=name_of(agent), kernel="6.18.0", agent_version="chaos", seen_us=base_us, started_us=1)
    host.addresses.append(f"10.77.0.{agent % 250 + 1}")
    encoder = Encoder(texts(number).__getitem__, lambda pid, comm: Process(service_of(pid == 100), comm.strip()))
    return encoder.encode(interval, host)
