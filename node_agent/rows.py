"""Turns of the kernel -> columns of the section `requests`: one row a request, at one end.

Marks and columns are those of docs/architecture.md. Everything is arrays; only turns that hold more than one
request, which are rare, are taken apart one by one (node_agent/pipelined.py).

Each request ends up in a row, in `unparsed` (its bytes are not what its protocol says) or, in the kernel, in lost. One
exception is counted as such: a pipeline that goes on behind the kept bytes is one more `unparsed`, whatever it held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent import pipelined
from node_agent.kernel import layout
from node_agent.probes.events import link_columns
from node_agent.protocols import Block, Decoded, Decoder
from node_agent.protocols._http1_interim import behind as behind_interim
from proto import sonde_pb2 as pb
from sonde import batches

Array = npt.NDArray[Any]
Columns = dict[str, Array]


@dataclass
class Tally:
    """What became of the turns, since the agent started."""

    turns: int = 0
    requests: int = 0
    unparsed: int = 0
    details: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int) -> None:
        """Count a detail."""
        if count:
            self.details[name] = self.details.get(name, 0) + count


def block_of(records: Array) -> Block:
    """The texts of n ring records, shape (n,), as the protocols take them."""
    turn = records["turn"]
    last = np.minimum(turn["response_bytes"], layout.TAIL).astype(np.int64)
    # The kernel keeps the last bytes at the end of its field; protocols read them from the start.
    place = (np.arange(layout.TAIL)[None, :] + layout.TAIL - last[:, None]) % layout.TAIL
    return Block(
        request=records["request"],
        request_captured=turn["request_captured"],
        request_bytes=turn["request_bytes"],
        response=records["response"],
        response_captured=turn["response_captured"],
        tail=np.take_along_axis(turn["tail"], place, axis=1),
        tail_captured=last,
        response_bytes=turn["response_bytes"],
    )


def durations(turn: Array) -> Columns:
    """Parts of each turn's time, units of 100 ns, shape (n,) each; they add up to `duration` but for rounding."""
    server = turn["role"] == pb.SERVER
    marks = {
        name: turn[name].astype(np.int64)
        for name in ("start", "request_first", "request_end", "response_start", "response_first", "response_end")
    }
    # A client's write can return after the answer has arrived: the request was out by then.
    sent = np.minimum(marks["request_end"], marks["response_start"])
    parts = {
        "duration": marks["response_end"] - marks["start"],
        "queue": np.where(
            server, marks["request_first"] - marks["start"], marks["response_first"] - marks["response_start"]
        ),
        "receive": np.where(server, sent - marks["request_first"], sent - marks["start"]),
        "process": marks["response_start"] - sent,
        "transfer": marks["response_end"] - np.where(server, marks["response_start"], marks["response_first"]),
        "gap": np.where(server, 0, turn["gap"].astype(np.int64)),  # the client's own pause; a server has none
    }
    return {name: (np.maximum(part, 0) // 100).astype(np.uint64) for name, part in parts.items()}


def _chosen(decoded: Decoded, rows: Array) -> Decoded:
    return Decoded(*(getattr(decoded, name)[rows] for name in Decoded.__slots__))


def _columns(turn: Array, decoded: Decoded, offset_ns: int) -> Columns:
    columns = link_columns(turn) | durations(turn) | {"connection": turn["connection"]}
    count = len(turn)
    columns |= {name: turn[name] for name in ("protocol", "offset", "request_bytes", "response_bytes")}
    for name in ("operation", "resource", "statement", "statement_id", "status_code"):
        columns[name] = getattr(decoded, name)
    one_way = decoded.one_way & (turn["response_bytes"] == 0)
    unanswered = ~one_way & (turn["response_bytes"] == 0)
    columns["status"] = np.select([one_way, unanswered], [pb.ONE_WAY, pb.NO_RESPONSE], decoded.status.astype(np.int64))
    columns["status_code"] = np.where(one_way | unanswered, 0, columns["status_code"])
    framed = decoded.framed & ~unanswered | one_way
    columns["ended_by"] = np.where(framed, pb.FRAMING, turn["ended_by"])
    unix_ns = turn["start"].astype(np.int64) + offset_ns
    columns["start"] = (unix_ns // 1000).astype(np.uint64)
    columns["weight"] = np.ones(count, dtype=np.uint64)
    flags = decoded.truncated * batches.STATEMENT_TRUNCATED
    flags |= ((turn["flags"] & layout.QUEUE_NOT_EXACT) != 0) * batches.QUEUE_NOT_EXACT
    flags |= (turn["connection_id"] == 0) * batches.NO_EXCHANGE_ID
    columns["flags"] = flags
    # A one-way message ends when it is written, or read; its socket's close says nothing of it.
    for name in ("process", "transfer"):
        columns[name] = np.where(one_way, 0, columns[name])
    columns["duration"] = np.where(one_way, columns["queue"] + columns["receive"], columns["duration"])
    return columns


def _rows_of_ring(records: Array, offset_ns: int, tally: Tally, decoder: Decoder) -> list[Columns]:
    out = []
    turns = records["turn"]
    for protocol in np.unique(turns["protocol"]):
        chosen = records[turns["protocol"] == protocol]
        block = block_of(chosen)
        if protocol == pb.HTTP1:
            block = behind_interim(block)
        decoded = decoder.decode(int(protocol), block)
        several = decoded.valid & ~decoded.single
        single = decoded.valid & decoded.single
        rejected = int((~decoded.valid).sum())
        tally.unparsed += rejected
        tally.add(f"unparsed/{pb.Protocol.Name(int(protocol)).lower()}", rejected)
        if single.all():
            out.append(_columns(chosen["turn"], decoded, offset_ns))
        elif single.any():
            out.append(_columns(chosen["turn"][single], _chosen(decoded, single), offset_ns))
        if several.any():
            rows = np.flatnonzero(several)
            beyond = sum(
                pipelined.hidden(int(protocol), turns, block.prefix(row))
                for row, turns in zip(rows.tolist(), chosen["turn"][rows], strict=True)
            )
            tally.unparsed += beyond
            tally.add("unparsed/pipelined_beyond_kept_bytes", beyond)
            turn, texts = pipelined.messages(int(protocol), chosen[several], block.rows(rows))
            parts = decoder.decode(int(protocol), texts)
            tally.unparsed += int((~parts.valid).sum())
            out.append(_columns(turn[parts.valid], _chosen(parts, parts.valid), offset_ns))
    return out


def requests(rings: dict[str, Array], offset_ns: int, tally: Tally, decoder: Decoder) -> list[Columns]:
    """Rows of all finished turns in `rings` (see layout.TURNS), as blocks of columns of one length each."""
    out = []
    for records in rings.values():
        if len(records):
            tally.turns += len(records)
            out += _rows_of_ring(records, offset_ns, tally, decoder)
    tally.requests += sum(len(block["start"]) for block in out)
    return out


def in_flight(conns: Array, offset_ns: int, decoder: Decoder) -> list[Columns]:
    """Rows of the section `in_flight` for n sockets of layout.REQUEST_CONN whose request has no answer yet."""
    out = []
    for protocol in np.unique(conns["protocol"]):
        chosen = conns[conns["protocol"] == protocol]
        decoded = decoder.decode(int(protocol), block_of(chosen))
        turn = chosen["turn"]
        names = ("connection_id", "role", "pid", "local_ip", "local_port", "remote_ip", "remote_port")
        columns = {name: chosen[name] for name in names}
        columns |= {"connection": chosen["number"], "comm": turn["comm"], "protocol": chosen["protocol"]}
        columns |= {name: getattr(decoded, name) for name in ("operation", "resource", "statement", "statement_id")}
        columns["start"] = ((turn["start"].astype(np.int64) + offset_ns) // 1000).astype(np.uint64)
        columns["request_bytes"] = turn["request_bytes"]
        out.append({name: column[decoded.valid] for name, column in columns.items()})
    return [block for block in out if len(block["start"])]
