"""Connection records of the kernel -> columns of the section `connections`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def link_columns(records: Array) -> dict[str, Array]:
    """What tells one end of a connection, from any record that has these fields; see encoder.LINK_COLUMNS."""
    names = ("connection_id", "role", "pid", "comm", "local_ip", "local_port", "remote_ip", "remote_port")
    return {name: records[name] for name in names}


def unix_us(monotonic_ns: Array, offset_ns: int) -> npt.NDArray[np.uint64]:
    """Unix time, us, of monotonic ns; 0 stays 0."""
    unix = (monotonic_ns.astype(np.int64) + offset_ns) // 1000
    return np.where(monotonic_ns == 0, 0, unix).astype(np.uint64)


def connection_columns(events: Array, offset_ns: int) -> dict[str, Array]:
    """Columns of n records of layout.CONNECTION_EVENT, shape (n,) each."""
    columns = link_columns(events) | {"connection": events["connection"]}
    columns |= {name: unix_us(events[name], offset_ns) for name in ("time", "opened", "closed")}
    columns["outcome"] = events["outcome"]
    columns["connect"] = events["connect_ns"] // 100
    columns["bytes_sent"], columns["bytes_received"] = events["bytes_sent"], events["bytes_received"]
    columns["retransmits"] = events["retransmits"]
    columns["rtt"], columns["min_rtt"] = events["rtt_us"], events["min_rtt_us"]
    columns["zero_windows"] = np.zeros(len(events), dtype=np.uint64)
    columns["resets_sent"], columns["resets_received"] = events["resets_sent"], events["resets_received"]
    return columns
