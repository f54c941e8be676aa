"""Read a Batch into checked NumPy columns.

Invariants of a Content: every column of a section has the section's length; every index points into its table; every
enum value has a name (a protocol of a newer agent becomes ~other); every number fits its column in the store; times lie
in this century and within one insert's partitions. So nothing that comes later can fail on a value, and no loop over
rows is needed to know it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aggregator.config import Limits
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb
from sonde import batches, sketches
from sonde.batches import Array
from sonde.errors import WireError
from sonde.sketches import Buckets

Columns = dict[str, Array]

#: Enum types; a value is valid if it is 1 to the largest known number.
ENUMS: dict[str, Any] = {
    "role": pb.Role, "status": pb.Status, "ended_by": pb.EndedBy, "outcome": pb.Outcome,
}  # fmt: skip
#: Protocols beyond it are of a newer agent: 0, which the store calls ~other.
_KNOWN_PROTOCOL = max(pb.Protocol.values())
#: Columns that index `strings` and are names, kept short because they group totals.
NAMES = frozenset({"service", "comm", "operation", "resource", "status_code", "probe"})
#: Columns that index `strings` and are texts.
TEXTS = frozenset({"statement", "text"})

_U8, _U16, _U32, _U64 = 2**8 - 1, 2**16 - 1, 2**32 - 1, 2**64 - 1
#: 90 days in units of 100 ns; sums over the largest batch stay below 2^64 ns.
_MAX_DURATION = 90 * 86_400 * 10_000_000
#: 16 TiB; sums over the largest batch stay below 2^64.
_MAX_BYTES = 2**44
_MIN_TIME_US, _MAX_TIME_US = 946_684_800_000_000, 4_102_444_800_000_000  # years 2000 and 2100
#: A table has a partition a day; an insert may touch 100 of them.
_MAX_SPAN_US = 90 * 86_400 * 1_000_000

#: Largest value of every other column; what is not named here may be any 64-bit number.
BOUNDS: dict[str, int] = {
    "pid": _U32, "local_port": _U16, "remote_port": _U16, "port": _U16, "weight": _U32, "flags": _U32,
    "rtt": _U32, "min_rtt": _U32, "request_bytes": _MAX_BYTES, "response_bytes": _MAX_BYTES,
    "requests": _U32, "interval": _U64 // 1000, "connect": _MAX_DURATION, "opened": _MAX_TIME_US,
    "closed": _MAX_TIME_US,
} | dict.fromkeys(("duration", "queue", "receive", "process", "transfer", "gap"), _MAX_DURATION)  # fmt: skip

#: Columns of `unsampled` that are sums, and how large all of them together may be, in the wire's units.
_SUMS = ("request_bytes", "response_bytes", "duration", "queue", "receive", "process", "transfer")
_MAX_SUM = 2.0**63 / 100

_HOST_NAME_BYTES = 255
_MAX_ADDRESSES = 4096
_MAX_TAGS = 256


@dataclass(frozen=True)
class Content:
    """A checked batch. `links` and the sections hold uint64 columns of shape (rows,), addresses uint8 (rows, 16)."""

    host: pb.Host
    addresses: tuple[bytes, ...]
    strings: list[str]
    sections: dict[str, Columns]
    details: list[dict[str, int]]
    #: Sketches of the section `unsampled`: name of the duration -> one sketch a row.
    sketches: dict[str, Buckets] = field(default_factory=dict)

    def rows(self, section: str) -> int:
        """Rows of a section."""
        columns = self.sections[section]
        return len(next(iter(columns.values())))


def _bad(message: str) -> Refused:
    return Refused(pb.Refusal.BAD_COLUMNS, message)


def _largest(column: Array) -> int:
    return int(column.max()) if column.size else 0


def _check_times(where: str, column: Array) -> None:
    if column.size == 0:
        return
    first, last = int(column.min()), int(column.max())
    if first < _MIN_TIME_US or last >= _MAX_TIME_US:
        raise _bad(f"{where}: a time outside the years 2000 to 2099; times are Unix microseconds")
    if last - first > _MAX_SPAN_US:
        raise _bad(f"{where}: times span more than 90 days; seal smaller batches")


def _check_distinct(where: str, column: Array, strings: int, limit: int) -> None:
    if strings <= limit or len(column) <= limit:
        return
    used = np.zeros(strings, dtype=bool)
    used[column.astype(np.int64)] = True
    if int(used.sum()) > limit:
        raise Refused(
            pb.Refusal.TOO_LARGE, f"{where}: more than {limit} distinct values (limits.services, limits.names)"
        )


def _bound(section: str, column: str) -> int:
    return _U64 if section == "unsampled" and column in _SUMS else BOUNDS.get(column, _U64)


def _check_section(name: str, columns: Columns, links: int, lengths: Array, limits: Limits) -> None:
    for column_name, column in columns.items():
        where = f"{name}.{column_name}"
        if column_name == "link":
            if _largest(column) >= max(links, 1) and column.size:
                raise _bad(f"{where}: index outside the {links} links")
        elif column_name in NAMES or column_name in TEXTS:
            if column.size and _largest(column) >= len(lengths):
                raise _bad(f"{where}: index outside the {len(lengths)} strings")
            limit = limits.name_bytes if column_name in NAMES else limits.text_bytes
            if column.size and int(lengths[column.astype(np.int64)].max()) > limit:
                raise _bad(f"{where}: a text longer than {limit} bytes")
            if column_name in NAMES:
                _check_distinct(
                    where, column, len(lengths), limits.services if column_name == "service" else limits.names
                )
        elif column_name == "protocol":
            if column.size and (int(column.min()) < 1 or _largest(column) > _U8):
                raise _bad(f"{where}: not a protocol")
            column[column > _KNOWN_PROTOCOL] = pb.PROTOCOL_UNSPECIFIED
        elif column_name in ENUMS:
            if column.size and (int(column.min()) < 1 or _largest(column) > max(ENUMS[column_name].values())):
                raise _bad(f"{where}: a value without a name; is the agent newer than the aggregator?")
        elif column_name in ("start", "time"):
            _check_times(where, column)
        elif _largest(column) > _bound(name, column_name):
            raise _bad(f"{where}: {_largest(column)} is out of range")


def _read_unsampled(message: pb.Unsampled, columns: Columns, limits: Limits) -> dict[str, Buckets]:
    if columns["requests"].size and int(columns["requests"].min()) == 0:
        raise _bad("unsampled.requests: a row stands for at least one request")
    for name in _SUMS:
        # As floats: the exact sum may be what overflows.
        if float(columns[name].astype(np.float64).sum()) > _MAX_SUM:
            raise _bad(f"unsampled.{name}: sums are out of range")
    out: dict[str, Buckets] = {}
    for name in batches.SKETCHES:
        where = f"unsampled.{name}_sketch"
        try:
            out[name] = sketches.read(getattr(message, f"{name}_sketch"), message.rows, limits.buckets)
        except WireError as error:
            raise _bad(f"{where}: {error}") from None
        if not np.array_equal(out[name].totals(), columns["requests"]):
            raise _bad(f"{where}: counts do not add up to the requests of each row")
    return out


def _check_host(host: pb.Host) -> tuple[bytes, ...]:
    if not 0 < len(host.name.encode()) <= _HOST_NAME_BYTES:
        raise _bad("host.name: 1 to 255 bytes")
    if len(host.addresses) > _MAX_ADDRESSES or len(host.tags) > _MAX_TAGS:
        raise _bad(f"host: at most {_MAX_ADDRESSES} addresses and {_MAX_TAGS} tags")
    texts: list[str] = [host.kernel, host.os, host.agent_version, *host.tags.keys(), *host.tags.values()]
    if any(len(text) > _HOST_NAME_BYTES * 4 for text in texts):
        raise _bad("host: a text longer than 1020 characters")
    _check_times("host.seen_us", np.array([host.seen_us], dtype=np.uint64))
    if host.started_us >= _MAX_TIME_US:
        raise _bad("host.started_us: out of range")
    try:
        return tuple(packed(ipaddress.ip_address(text)) for text in host.addresses)
    except ValueError:
        raise _bad("host.addresses: not an IP address") from None


def packed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """16 bytes, network order, IPv4 as ::ffff:a.b.c.d."""
    return b"\0" * 10 + b"\xff\xff" + address.packed if address.version == 4 else address.packed


def _distinct(strings: list[str], columns: list[Columns]) -> list[str]:
    """Strings without repetition, the index columns moved accordingly: a dictionary column must not repeat itself."""
    distinct = list(dict.fromkeys(strings))
    if len(distinct) == len(strings):
        return strings
    place = {text: index for index, text in enumerate(distinct)}
    moved = np.array([place[text] for text in strings], dtype=np.uint64)
    for section in columns:
        for name in NAMES | TEXTS:
            if name in section:
                section[name] = moved[section[name].astype(np.int64)]
    return distinct


def read(batch: pb.Batch, limits: Limits) -> Content:
    """Checked columns of `batch`.

    Raises:
        Refused: TOO_LARGE or BAD_COLUMNS, naming the section and column.
    """
    if len(batch.strings) > limits.strings:
        raise Refused(pb.Refusal.TOO_LARGE, f"{len(batch.strings)} strings; limits.strings is {limits.strings}")
    strings = list(batch.strings) or [""]
    if strings[0] != "":
        raise _bad("strings: index 0 is the empty text")
    encoded: Callable[[str], int] = lambda text: len(text.encode())  # noqa: E731
    lengths = np.fromiter(map(encoded, strings), dtype=np.int64, count=len(strings))
    addresses = _check_host(batch.host)
    sections: dict[str, Columns] = {}
    for name in batches.SECTIONS:
        message = getattr(batch, name)
        if message.rows > limits.rows:
            raise Refused(pb.Refusal.TOO_LARGE, f"{name}: {message.rows} rows; limits.rows is {limits.rows}")
        try:
            sections[name] = batches.read(name, message)
        except WireError as error:
            raise _bad(str(error)) from None
    links = len(sections["links"]["role"])
    for name, columns in sections.items():
        _check_section(name, columns, links, lengths, limits)
    found = _read_unsampled(batch.unsampled, sections["unsampled"], limits)
    if any(len(one.counts) > limits.details for one in batch.agent_stats.details):
        raise Refused(pb.Refusal.TOO_LARGE, f"agent_stats.details: a row of more than {limits.details} parts")
    details = [dict(one.counts) for one in batch.agent_stats.details]
    if len(details) not in (0, len(sections["agent_stats"]["probe"])):
        raise _bad("agent_stats.details: one a row, or none")
    if any(len(key) > limits.name_bytes for one in details for key in one):
        raise _bad(f"agent_stats.details: a key longer than {limits.name_bytes} characters")
    strings = _distinct(strings, list(sections.values()))
    return Content(batch.host, addresses, strings, sections, details, found)
