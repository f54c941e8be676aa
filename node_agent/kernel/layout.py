"""The kernel's records and settings as NumPy dtypes: the Python reading of bpf/common/*.h and of the probes' structs.

tests/kernel/test_layout.py compares sizes and offsets with what clang made of the C.
"""

from __future__ import annotations

from typing import Any

import numpy as np

REQUEST_MAX, RESPONSE_MAX, TAIL = 1024, 512, 16
ARRIVALS = SEGMENTS = SCOPE_ITEMS = 8
PROTOCOLS = 4

ADDRESS = [("local_ip", "u1", 16), ("remote_ip", "u1", 16), ("local_port", "<u2"), ("remote_port", "<u2")]

SETTINGS = np.dtype(
    [
        ("started", "<u4"),
        ("own_pid", "<u4"),
        ("network_namespace", "<u4"),
        ("cgroup_level", "<u4"),
        ("cgroup", "<u8"),
        ("pids", "<u4", SCOPE_ITEMS),
        ("ports", "<u2", SCOPE_ITEMS),
        ("idle_ns", "<u8"),
    ]
)

ARRIVAL = np.dtype([("begin", "<u8"), ("end", "<u8"), ("time", "<u8")])
SEGMENT = np.dtype([("offset", "<u8"), ("enter", "<u8"), ("exit", "<u8")])
MARKS = np.dtype(
    [
        ("arrivals", ARRIVAL, ARRIVALS),
        ("requests", SEGMENT, SEGMENTS),
        ("responses", SEGMENT, SEGMENTS),
        ("heads", "u1", (SEGMENTS, 16)),
    ]
)

TURN = np.dtype(
    [
        *(
            (name, "<u8")
            for name in (
                "connection",
                "connection_id",
                "start",
                "request_first",
                "request_end",
                "response_start",
                "response_first",
                "response_end",
                "gap",
                "offset",
                "response_offset",
                "request_bytes",
                "response_bytes",
            )
        ),
        *ADDRESS,
        ("pid", "<u4"),
        ("comm", "S16"),
        ("tail", "u1", TAIL),
        ("request_captured", "<u2"),
        ("response_captured", "<u2"),
        ("role", "u1"),
        ("protocol", "u1"),
        ("ended_by", "u1"),
        ("flags", "u1"),
        ("request_segments", "<u4"),
        ("response_segments", "<u4"),
    ]
)
QUEUE_NOT_EXACT, NO_IDENTITY, SEVERAL_ARRIVALS = 1, 2, 4

#: Ring (map) name -> record.
TURNS = {
    "small_turns": np.dtype([("turn", TURN), ("response", "u1", 64), ("request", "u1", 128)]),
    "medium_turns": np.dtype([("turn", TURN), ("response", "u1", RESPONSE_MAX), ("request", "u1", 384)]),
    "large_turns": np.dtype(
        [("turn", TURN), ("response", "u1", RESPONSE_MAX), ("request", "u1", REQUEST_MAX), ("marks", MARKS)]
    ),
}

#: What `requests` keeps for one socket.
_CONN_FIELDS: list[tuple[str, object, int]] = [
    ("number", "<u8", 8),
    ("connection_id", "<u8", 24),
    ("local_ip", ("u1", 16), 64),
    ("remote_ip", ("u1", 16), 80),
    ("local_port", "<u2", 96),
    ("remote_port", "<u2", 98),
    ("pid", "<u4", 100),
    ("phase", "u1", 104),
    ("protocol", "u1", 105),
    ("role", "u1", 106),
    ("pending", "u1", 107),
    ("turn", TURN, 184),
    ("response", ("u1", RESPONSE_MAX), 1080),
    ("request", ("u1", REQUEST_MAX), 1720),
]
REQUEST_CONN: np.dtype[Any] = np.dtype(
    {
        "names": [name for name, _, _ in _CONN_FIELDS],
        "formats": [layout for _, layout, _ in _CONN_FIELDS],
        "offsets": [offset for _, _, offset in _CONN_FIELDS],
        "itemsize": 3768,
    }
)
#: What `requests` keeps of a system call under way.
CALL = np.dtype(
    [
        *((name, "<u8") for name in ("sk", "enter", "base", "length", "turn_number")),
        *((name, "<u4") for name in ("layout", "captured", "ignored", "fd")),
    ]
)
PLAIN, VECTOR, NO_BUFFER, MESSAGE = 0, 1, 2, 3
QUIET, REQUEST, RESPONSE = 0, 1, 2
REQUEST_COUNTERS = ("emitted", "no_protocol", "lost", "contended", "no_room", "late_bytes", "not_a_request")

CONNECTION_EVENT = np.dtype(
    [
        *(
            (name, "<u8")
            for name in (
                "connection",
                "connection_id",
                "time",
                "opened",
                "closed",
                "connect_ns",
                "bytes_sent",
                "bytes_received",
            )
        ),
        *ADDRESS,
        ("pid", "<u4"),
        ("comm", "S16"),
        ("retransmits", "<u4"),
        ("rtt_us", "<u4"),
        ("min_rtt_us", "<u4"),
        ("resets_sent", "<u4"),
        ("resets_received", "<u4"),
        ("role", "u1"),
        ("outcome", "u1"),
        ("flags", "u1"),
        ("unused", "u1"),
    ]
)
FOUND = 1
#: What `connections` keeps for one socket.
CONNECTION_CONN_BYTES = 152
CONNECTION_COUNTERS = ("emitted", "lost", "no_room")
