"""Arrow tables, one per table of the store, from the merged batches of a block.

Texts stay dictionary-encoded from the wire to the store: an index column, never one object a row; a column's dictionary
holds only what the column uses. The column names and units are those of storage/schema; 100 ns on the wire become
nanoseconds here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aggregator.ingest.content import Columns
from aggregator.ingest.counted import SUMS, Counted
from aggregator.ingest.groups import Groups, map_array
from aggregator.ingest.merge import Merged
from proto import sonde_pb2 as pb
from sonde import batches
from sonde.groups import U64
from sonde.ids import exchange_ids

TICK_NS = np.uint64(100)

_PROTOCOLS = pa.array(["~other", *(name.lower() for name in list(pb.Protocol.keys())[1:])])
_ERRORS = (pb.CLIENT_ERROR, pb.SERVER_ERROR, pb.NO_RESPONSE)


def _texts(codes: npt.NDArray[Any], dictionary: pa.Array) -> pa.Array:
    used = np.zeros(len(dictionary), dtype=bool)
    used[codes] = True
    place = np.cumsum(used, dtype=np.int32) - 1
    return pa.DictionaryArray.from_arrays(pa.array(place[codes]), dictionary.take(pa.array(np.flatnonzero(used))))


def _plain(codes: npt.NDArray[Any], dictionary: pa.Array) -> pa.Array:
    return dictionary.take(pa.array(codes.astype(np.int64)))


def _time(microseconds: npt.NDArray[Any]) -> pa.Array:
    return pa.array(microseconds.astype(np.int64), pa.timestamp("us", "UTC"))


def _addresses(packed: npt.NDArray[np.uint8]) -> pa.Array:
    data = np.ascontiguousarray(packed)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(data), [None, pa.py_buffer(data)])


class Tables:
    """The tables of one block."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged
        self._strings = merged.strings
        self._links = merged.sections["links"]

    def _host(self, part: npt.NDArray[Any]) -> pa.Array:
        return _texts(self._merged.host[part], self._strings)

    def _link_columns(self, of: npt.NDArray[Any]) -> dict[str, pa.Array]:
        links, merged = self._links, self._merged
        return {
            "host": self._host(links["part"][of]),
            "service": _texts(links["service"][of], self._strings),
            "role": pa.array(links["role"][of].astype(np.int8)),
            "pid": pa.array(links["pid"][of].astype(np.uint32)),
            "comm": _texts(links["comm"][of], self._strings),
            "local_ip": _addresses(links["local_ip"][of]),
            "local_port": pa.array(links["local_port"][of].astype(np.uint16)),
            "remote_ip": _addresses(links["remote_ip"][of]),
            "remote_port": pa.array(links["remote_port"][of].astype(np.uint16)),
            "remote_host": _texts(merged.remote_host[of], self._strings),
            "remote_service": _texts(merged.remote_service[of], self._strings),
            "connection_id": pa.array(links["connection_id"][of]),
        }

    def requests(self) -> pa.Table:
        """Raw rows."""
        rows = self._merged.sections["requests"]
        flags = rows["flags"].astype(np.uint32)
        exchange = exchange_ids(self._links["connection_id"][rows["link"]], rows["offset"])
        exchange[(flags & batches.NO_EXCHANGE_ID) != 0] = 0
        columns = {"start": _time(rows["start"]), **self._link_columns(rows["link"])}
        columns |= {
            "protocol": _texts(rows["protocol"], _PROTOCOLS),
            "operation": _texts(rows["operation"], self._strings),
            "resource": _texts(rows["resource"], self._strings),
            "statement_id": pa.array(rows["statement_id"]),
            "statement": _plain(rows["statement"], self._strings),
            "statement_truncated": pa.array(((flags & batches.STATEMENT_TRUNCATED) != 0).astype(np.uint8)),
            "status": pa.array(rows["status"].astype(np.int8)),
            "status_code": _texts(rows["status_code"], self._strings),
            "queue_exact": pa.array(((flags & batches.QUEUE_NOT_EXACT) == 0).astype(np.uint8)),
            "request_bytes": pa.array(rows["request_bytes"]),
            "response_bytes": pa.array(rows["response_bytes"]),
            "ended_by": pa.array(rows["ended_by"].astype(np.int8)),
            "tls": pa.array(((flags & batches.TLS) != 0).astype(np.uint8)),
            "exchange_id": pa.array(exchange),
            "weight": pa.array(rows["weight"].astype(np.uint32)),
            "replay": pa.array(self._merged.replay[rows["part"]]),
        }
        for name in ("duration", "queue", "receive", "process", "transfer", "gap"):
            columns[f"{name}_ns"] = pa.array(rows[name] * TICK_NS)
        return pa.table(columns)

    def request_stats(self, counted: Counted) -> pa.Table:
        """Totals of 10 s by time of completion, with sketches; one row a group."""
        rows = counted.columns
        of = rows["link"]
        host = self._merged.host[rows["part"]]
        role, service = self._links["role"][of], self._links["service"][of]
        remote_host, remote_service = self._merged.remote_host[of], self._merged.remote_service[of]
        groups = Groups.by(
            [rows["time"], host, role, service, remote_host, remote_service, rows["protocol"], rows["operation"],
             rows["resource"], rows["status"]]
        )  # fmt: skip
        one = groups.first
        columns = {
            "time": pa.array(rows["time"][one].astype(np.uint32)),
            "host": _texts(host[one], self._strings),
            "service": _texts(service[one], self._strings),
            "role": pa.array(role[one].astype(np.int8)),
            "remote_host": _texts(remote_host[one], self._strings),
            "remote_service": _texts(remote_service[one], self._strings),
            "protocol": _texts(rows["protocol"][one], _PROTOCOLS),
            "operation": _texts(rows["operation"][one], self._strings),
            "resource": _texts(rows["resource"][one], self._strings),
            "status": pa.array(rows["status"][one].astype(np.int8)),
            "estimated": pa.array((groups.sums(rows["estimated"]) != 0).astype(np.uint8)),
        }
        for name in ("requests", "unsampled", "request_bytes", "response_bytes"):
            columns[name] = pa.array(groups.sums(rows[name]))
        for name in SUMS:
            columns[f"{name}_sum_ns"] = pa.array(groups.sums(rows[name]))
        for name in batches.SKETCHES:
            columns[name] = map_array(counted.sketches(name, groups))
        return pa.table(columns)

    def statement_stats(self, counted: Counted, limit: int) -> pa.Table | None:
        """Totals of statements by minute of completion; beyond a part's `limit` most frequent the id is 0."""
        counted = counted.where(counted.columns["statement_id"] != 0)
        if len(counted) == 0:
            return None
        rows = counted.columns
        of = rows["link"]
        minute = rows["time"] // np.uint64(60) * np.uint64(60)
        statement = _most_frequent(rows["statement_id"], rows["requests"], rows["part"], limit)
        host = self._merged.host[rows["part"]]
        role, service = self._links["role"][of], self._links["service"][of]
        remote_service = self._merged.remote_service[of]
        groups = Groups.by([minute, host, role, service, remote_service, statement])
        one = groups.first
        failed = np.isin(rows["status"], _ERRORS).astype(np.uint64)
        return pa.table(
            {
                "time": pa.array(minute[one].astype(np.uint32)),
                "host": _texts(host[one], self._strings),
                "service": _texts(service[one], self._strings),
                "role": pa.array(role[one].astype(np.int8)),
                "remote_service": _texts(remote_service[one], self._strings),
                "statement_id": pa.array(statement[one]),
                "requests": pa.array(groups.sums(rows["requests"])),
                "errors": pa.array(groups.sums(failed * rows["requests"])),
                "duration_sum_ns": pa.array(groups.sums(rows["duration"])),
                "duration": map_array(counted.sketches("duration", groups)),
            }
        )

    def connections(self) -> pa.Table:
        """Connection reports."""
        rows = self._merged.sections["connections"]
        columns = {name: _time(rows[name]) for name in ("time", "opened", "closed")} | self._link_columns(rows["link"])
        columns |= {"outcome": pa.array(rows["outcome"].astype(np.int8)), "connect_ns": pa.array(rows["connect"] * 100)}
        for name in ("bytes_sent", "bytes_received", "retransmits", "zero_windows", "resets_sent", "resets_received"):
            columns[name] = pa.array(rows[name])
        for name in ("rtt", "min_rtt"):
            columns[f"{name}_us"] = pa.array(rows[name].astype(np.uint32))
        return pa.table(columns)

    def in_flight(self, parts: Sequence[int]) -> pa.Table:
        """Unanswered requests of `parts`."""
        rows = _where(self._merged.sections["in_flight"], lambda rows: np.isin(rows["part"], parts))
        seen = self._merged.seen_us[rows["part"]]
        age = np.where(rows["start"] < seen, seen - rows["start"], np.uint64(0)) * np.uint64(1000)
        columns = {
            "time": _time(self._merged.received_us[rows["part"]]),
            "start": _time(rows["start"]),
            "age_ns": pa.array(age),
        }
        columns |= self._link_columns(rows["link"])
        columns |= {
            "protocol": _texts(rows["protocol"], _PROTOCOLS),
            "operation": _texts(rows["operation"], self._strings),
            "resource": _texts(rows["resource"], self._strings),
            "statement_id": pa.array(rows["statement_id"]),
            "statement": _plain(rows["statement"], self._strings),
            "request_bytes": pa.array(rows["request_bytes"]),
        }
        return pa.table(columns)

    def nothing_in_flight(self, parts: Sequence[int]) -> pa.Table:
        """One row each that says that the hosts of `parts` have no unanswered request."""
        received = _time(self._merged.received_us[list(parts)])
        nothing = pa.array(np.ones(len(parts), dtype=np.uint8))
        host = self._host(np.array(parts, dtype=np.int32))
        return pa.table({"time": received, "nothing": nothing, "host": host, "start": received})

    def endpoints(self, parts: Sequence[int]) -> pa.Table:
        """Listening sockets of `parts`."""
        rows = _where(self._merged.sections["endpoints"], lambda rows: np.isin(rows["part"], parts))
        seen = _time(self._merged.seen_us[rows["part"]])
        return pa.table(
            {
                "host": self._host(rows["part"]),
                "address": _addresses(rows["address"]),
                "port": pa.array(rows["port"].astype(np.uint16)),
                "service": _texts(rows["service"], self._strings),
                "pid": pa.array(rows["pid"].astype(np.uint32)),
                "first_seen": seen,
                "last_seen": seen,
            }
        )

    def hosts(self, parts: Sequence[int]) -> pa.Table:
        """The hosts of `parts`, one row each."""
        hosts = [self._merged.parts[part].content.host for part in parts]
        seen = _time(self._merged.seen_us[list(parts)])
        return pa.table(
            {
                "host": [host.name for host in hosts],
                "kernel": [host.kernel for host in hosts],
                "os": [host.os for host in hosts],
                "addresses": pa.array([list(host.addresses) for host in hosts], pa.list_(pa.string())),
                "agent_version": [host.agent_version for host in hosts],
                "tags": pa.array([sorted(host.tags.items()) for host in hosts], pa.map_(pa.string(), pa.string())),
                "replay": pa.array([int(host.replay) for host in hosts], pa.uint8()),
                "agent_started": _time(np.array([host.started_us for host in hosts])),
                "first_seen": seen,
                "last_seen": seen,
            }
        )

    def agent_stats(self) -> pa.Table:
        """The agent's own figures."""
        rows = self._merged.sections["agent_stats"]
        details: list[list[tuple[str, int]]] = []
        for part in self._merged.parts:
            details += [sorted(one.items()) for one in part.content.details] or [[]] * part.content.rows("agent_stats")
        columns = {
            "time": _time(rows["time"]),
            "interval_ns": pa.array(rows["interval"] * np.uint64(1000)),
            "host": self._host(rows["part"]),
            "probe": _texts(rows["probe"], self._strings),
            "cpu_ns": pa.array(rows["cpu"]),
            "kernel_ns": pa.array(rows["kernel"]),
            "rss_bytes": pa.array(rows["rss"]),
            "details": pa.array(details, pa.map_(pa.string(), pa.uint64())),
        }
        for name in (
            "events", "lost_in_kernel", "lost_in_agent", "unmatched", "unparsed", "spooled_bytes", "dropped_batches",
            "probe_runs",
        ):  # fmt: skip
            columns[name] = pa.array(rows[name])
        return pa.table(columns)

    def statements(self, known: Callable[[int], bool]) -> tuple[pa.Table | None, list[int]]:
        """Texts of the statements that are not `known` yet, from their own section and from the requests; their ids."""
        texts = self._merged.sections["statements"]
        rows = _where(
            self._merged.sections["requests"], lambda rows: (rows["statement_id"] != 0) & (rows["statement"] != 0)
        )
        ids = np.concatenate([texts["statement_id"], rows["statement_id"]])
        if len(ids) == 0:
            return None, []
        _, first = np.unique(ids, return_index=True)
        keep = np.array([index for index in first.tolist() if not known(int(ids[index]))], dtype=np.int64)
        if len(keep) == 0:
            return None, []
        protocol = np.concatenate([texts["protocol"], rows["protocol"]])[keep]
        text = np.concatenate([texts["text"], rows["statement"]])[keep]
        seen = _time(self._merged.seen_us[np.concatenate([texts["part"], rows["part"]])[keep]])
        columns = {
            "statement_id": pa.array(ids[keep]),
            "protocol": _texts(protocol, _PROTOCOLS),
            "text": _plain(text, self._strings),
            "first_seen": seen,
            "last_seen": seen,
        }
        return pa.table(columns), ids[keep].tolist()


def _where(rows: Columns, condition: Callable[[Columns], npt.NDArray[np.bool_]]) -> Columns:
    mask = condition(rows)
    return {name: column[mask] for name, column in rows.items()}


def _most_frequent(ids: U64, requests: U64, part: npt.NDArray[np.int32], limit: int) -> U64:
    """`ids` with 0 in place of all but the `limit` most frequent of each part."""
    groups = Groups.by([part, ids])
    counts = groups.sums(requests)
    of = part[groups.first]  # ascending
    # Groups of a part by falling count; the rank within the part is what limits.
    order = np.lexsort((-counts.astype(np.int64), of))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(of, of)[order]
    kept = np.empty(len(ids), dtype=bool)
    kept[groups.order] = (rank < limit)[groups.codes]
    out: U64 = np.where(kept, ids, np.uint64(0))
    return out
