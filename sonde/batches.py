"""Which columns each section of a batch has, and how each is encoded: the Python reading of proto/sonde.proto.

Both programs use this one table, so that an encoder and a decoder cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sonde import columns
from sonde.errors import WireError

Array = npt.NDArray[Any]

PLANES, DELTA, ADDRESS = "planes", "delta", "address"

#: section -> column -> encoding.
SECTIONS: dict[str, dict[str, str]] = {
    "links": dict.fromkeys(
        ("role", "pid", "service", "comm", "local_port", "remote_port", "connection_id"), PLANES
    ) | {"local_ip": ADDRESS, "remote_ip": ADDRESS},
    "requests": dict.fromkeys(
        (
            "link", "protocol", "operation", "resource", "statement_id", "statement", "status", "status_code",
            "duration", "queue", "receive", "process", "transfer", "gap", "request_bytes", "response_bytes",
            "ended_by", "weight", "flags",
        ),
        PLANES,
    ) | {"start": DELTA, "offset": DELTA},
    "unsampled": dict.fromkeys(
        (
            "link", "protocol", "operation", "resource", "statement_id", "status", "requests", "request_bytes",
            "response_bytes", "duration", "queue", "receive", "process", "transfer",
        ),
        PLANES,
    ) | {"time": DELTA},
    "connections": dict.fromkeys(
        (
            "link", "opened", "closed", "outcome", "connect", "bytes_sent", "bytes_received", "retransmits", "rtt",
            "min_rtt", "zero_windows", "resets_sent", "resets_received",
        ),
        PLANES,
    ) | {"time": DELTA},
    "endpoints": dict.fromkeys(("port", "service", "pid"), PLANES) | {"address": ADDRESS},
    "statements": dict.fromkeys(("statement_id", "protocol", "text"), PLANES),
    "in_flight": dict.fromkeys(
        ("link", "protocol", "operation", "resource", "statement_id", "statement", "request_bytes"), PLANES
    ) | {"start": DELTA},
    "agent_stats": dict.fromkeys(
        (
            "probe", "interval", "events", "lost_in_kernel", "lost_in_agent", "unmatched", "unparsed",
            "spooled_bytes", "dropped_batches", "cpu", "kernel", "rss", "probe_runs",
        ),
        PLANES,
    ) | {"time": DELTA},
}  # fmt: skip

#: section -> columns that came after its first release. Agents of before do not send them, which reads as zeros.
ADDED: dict[str, frozenset[str]] = {}

#: Bits of Requests.flags.
STATEMENT_TRUNCATED, TLS, NO_EXCHANGE_ID, QUEUE_NOT_EXACT, SLOW = 1, 2, 4, 8, 16
#: Sketches of the section `unsampled`: of which durations, in fields NAME_sketch.
SKETCHES = ("duration", "queue", "process", "transfer")

_ENCODERS = {PLANES: columns.encode, DELTA: columns.encode_delta, ADDRESS: columns.encode_addresses}


def fill(section: str, message: Any, values: Mapping[str, Array]) -> None:
    """Write `values` (column -> array of one length) into the protobuf `message` of that section."""
    lengths = {len(column) for column in values.values()}
    if len(lengths) != 1 or set(values) != set(SECTIONS[section]):
        raise WireError(f"{section}: columns {sorted(values)} of lengths {sorted(lengths)} do not fit the section")
    message.rows = lengths.pop()
    for name, encoding in SECTIONS[section].items():
        setattr(message, name, _ENCODERS[encoding](values[name]))


def read(section: str, message: Any) -> dict[str, Array]:
    """Columns of a section's protobuf `message`: uint64 of shape (rows,), addresses uint8 of shape (rows, 16).

    Raises:
        WireError: a column is missing (and not one of ADDED) or has another length than `rows`.
    """
    rows = message.rows
    added = ADDED.get(section, frozenset())
    out: dict[str, Array] = {}
    for name, encoding in SECTIONS[section].items():
        data = getattr(message, name)
        try:
            if not data and name in added:
                out[name] = np.zeros((rows, 16), np.uint8) if encoding == ADDRESS else np.zeros(rows, np.uint64)
            elif encoding == ADDRESS:
                out[name] = columns.decode_addresses(data, rows)
            elif rows == 0 and not data:
                out[name] = np.zeros(0, dtype=np.uint64)
            else:
                out[name] = (columns.decode_delta if encoding == DELTA else columns.decode)(data, rows)
        except WireError as error:
            raise WireError(f"{section}.{name}: {error}") from None
    return out
