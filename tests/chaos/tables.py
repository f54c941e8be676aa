"""The rows of the store that the set checker looks at, as plain values: read by SQL, or made from a batch's number.

`of_batch` says what a stored batch must look like, from tests/chaos/numbered.py alone; `read` asks the store. Neither
knows the other, so a fault of the pipeline cannot hide in both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from proto import sonde_pb2 as pb
from sonde import sketch
from sonde.ids import exchange_ids
from tests.chaos import numbered

Value = int | str
Row = tuple[Value, ...]
Sketch = dict[int, int]


@dataclass(frozen=True)
class RollUp:
    """A table of totals: one value a key, whatever it is stored in."""

    table: str
    seconds: int
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    sketches: tuple[str, ...]

    @property
    def batch_key(self) -> int:
        """Place of the key that only one batch has."""
        return self.keys.index("statement_id" if "statement_id" in self.keys else "resource")


_KEYS = ("host", "service", "role", "remote_host", "remote_service")
_TIMES = ("duration", "queue", "receive", "process", "transfer")
_STATS = tuple(
    RollUp(
        f"request_stats_{name}",
        seconds,
        (*_KEYS, "protocol", "operation", "resource", "status"),
        ("requests", "unsampled", "request_bytes", "response_bytes", *(f"{one}_sum_ns" for one in _TIMES)),
        ("duration", "queue", "process", "transfer"),
    )
    for name, seconds in (("10s", 10), ("1m", 60), ("1h", 3600))
)
_STATEMENTS = RollUp(
    "statement_stats_1m",
    60,
    ("host", "service", "role", "remote_service", "statement_id"),
    ("requests", "errors", "duration_sum_ns"),
    ("duration",),
)
ROLL_UPS = (*_STATS, _STATEMENTS)

#: Column that holds a row's number, and the columns that are compared.
REQUESTS = (
    "request_bytes", "start", "host", "service", "role", "pid", "comm", "protocol", "operation", "resource",
    "statement_id", "statement", "status", "status_code", *(f"{one}_ns" for one in _TIMES), "gap_ns",
    "response_bytes", "weight", "connection_id", "exchange_id",
)  # fmt: skip
CONNECTIONS = ("bytes_sent", "time", "host", "service", "role", "connection_id", "outcome")
AGENT_STATS = ("events", "time", "host", "probe", "interval_ns")
RAW = {"requests": REQUESTS, "connections": CONNECTIONS, "agent_stats": AGENT_STATS}

Totals = dict[Row, tuple[tuple[int, ...], tuple[Sketch, ...]]]


@dataclass
class Stored:
    """What is in the store: raw rows as often as they are there, the first value being the number; totals by key."""

    raw: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in RAW})
    ends: dict[int, tuple[str, str]] = field(default_factory=dict)  # a request's number -> remote host and service
    totals: dict[str, Totals] = field(default_factory=lambda: {one.table: {} for one in ROLL_UPS})


def is_hidden(row: Row) -> bool:
    """Whether a request is in the totals alone."""
    return bool(numbered.is_hidden(int(row[0])))


def of_batch(agent: int, number: int, base_us: int, refusing: bool) -> dict[str, list[Row]]:
    """Rows of one batch, by table; of `requests` those that are hidden too."""
    host, strings = numbered.name_of(agent), numbered.texts(number)
    columns = numbered.requests(agent, number, base_us, refusing)
    exchange = exchange_ids(columns["connection_id"], columns["offset"]).tolist()
    plain = {name: column.tolist() for name, column in columns.items()}
    requests: list[Row] = [
        (
            plain["request_bytes"][row], plain["start"][row], host,
            numbered.service_of(plain["role"][row] == pb.CLIENT), pb.Role.Name(plain["role"][row]).lower(),
            plain["pid"][row], plain["comm"][row].decode().strip(),
            pb.Protocol.Name(plain["protocol"][row]).lower(), strings[plain["operation"][row]],
            strings[plain["resource"][row]], plain["statement_id"][row], strings[plain["statement"][row]],
            pb.Status.Name(plain["status"][row]).lower(), strings[plain["status_code"][row]],
            *(plain[one][row] * 100 for one in (*_TIMES, "gap")), plain["response_bytes"][row], plain["weight"][row],
            plain["connection_id"][row], exchange[row],
        )
        for row in range(len(exchange))
    ]  # fmt: skip
    some = {name: column.tolist() for name, column in numbered.connections(agent, number, base_us).items()}
    connections: list[Row] = [
        (code, time, host, numbered.service_of(role == pb.CLIENT), pb.Role.Name(role).lower(), identity, "open")
        for code, time, role, identity in zip(
            some["bytes_sent"], some["time"], some["role"], some["connection_id"], strict=True
        )
    ]
    stats = numbered.stats(agent, number, base_us)
    own: Row = (stats["events"], stats["time"], host, stats["probe"], stats["interval"] * 1000)
    return {"requests": requests, "connections": connections, "agent_stats": [own]}


def roll_up(spec: RollUp, rows: Iterable[Row], ends: dict[int, tuple[str, str]]) -> Totals:
    """Totals of `rows` by time of completion; who was at the other end is what the raw row says."""
    out: Totals = {}
    all_rows = list(rows)
    places = {name: REQUESTS.index(f"{name}_ns") for name in spec.sketches}
    buckets = {
        name: sketch.bucket(np.array([row[place] for row in all_rows], dtype=np.uint64)).tolist()
        for name, place in places.items()
    }
    for index, row in enumerate(all_rows):
        named = dict(zip(REQUESTS, row, strict=True))
        if not named["weight"] or (spec is _STATEMENTS and not named["statement_id"]):
            continue
        hidden = int(is_hidden(row))
        named["remote_host"], named["remote_service"] = ends[int(row[0]) - 3 * hidden]
        end_s = (int(named["start"]) + int(named["duration_ns"]) // 1000) // 1_000_000
        key = (end_s // spec.seconds * spec.seconds, *(named[name] for name in spec.keys))
        weight = int(named["weight"])
        values = {"requests": 1, "unsampled": hidden, "errors": int(named["status"] != "ok")} | {
            name: int(named[name]) for name in ("request_bytes", "response_bytes")
        }
        values |= {f"{one}_sum_ns": int(named[f"{one}_ns"]) for one in _TIMES}
        sums, sketches = out.get(key, ((0,) * len(spec.sums), tuple({} for _ in spec.sketches)))
        for name, counted in zip(spec.sketches, sketches, strict=True):
            bucket = buckets[name][index]
            counted[bucket] = counted.get(bucket, 0) + weight
        out[key] = tuple(sum_ + values[name] * weight for sum_, name in zip(sums, spec.sums, strict=True)), sketches
    return out


def read(query: Callable[[str], list[list[str]]]) -> Stored:
    """What the store holds; `query` gives rows of tab-separated texts."""
    stored = Stored()
    for table, columns in RAW.items():
        chosen = [f"toUnixTimestamp64Micro({name})" if name in ("start", "time") else name for name in columns]
        extra = ["remote_host", "remote_service"] if table == "requests" else []
        for row in _rows(query, [*chosen, *extra], f"{table} WHERE host LIKE 'host%'"):
            if extra:
                stored.ends[int(row[0])] = str(row[-2]), str(row[-1])
                row = row[:-2]
            stored.raw[table].append(tuple(row))
    for spec in ROLL_UPS:
        keys = ["toUnixTimestamp(time)", *spec.keys]
        values = [f"sum({name})" for name in spec.sums] + [f"sumMap({name})" for name in spec.sketches]
        for row in _rows(query, [*keys, *values], f"{spec.table} GROUP BY {', '.join(['time', *spec.keys])}"):
            key, sums = tuple(row[: len(keys)]), row[len(keys) : len(keys) + len(spec.sums)]
            sketches = tuple({int(k): int(v) for k, v in one.items()} for one in row[len(keys) + len(spec.sums) :])
            stored.totals[spec.table][key] = tuple(int(one) for one in sums), sketches
    return stored


def _rows(query: Callable[[str], list[list[str]]], columns: list[str], rest: str) -> Iterable[list]:  # type: ignore[type-arg]
    text = f"SELECT toJSONString(tuple({', '.join(columns)})) FROM {rest} FORMAT TSVRaw"
    for (line,) in query(text):
        yield json.loads(line)
