"""Ring records as the kernel writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.kernel import layout
from proto import sonde_pb2 as pb

MS = 1_000_000


def record(
    request: bytes, response: bytes, ring: str = "large_turns", role: int = pb.SERVER, **marks: Any
) -> npt.NDArray[Any]:
    """One record; times of a server: arrived at 1 ms, read at 3, answered from 7 to 8; of a client alike."""
    out = np.zeros(1, layout.TURNS[ring])
    turn = out["turn"][0]
    given = {
        "connection": 5, "connection_id": 6, "start": 1 * MS, "request_first": 3 * MS, "request_end": 4 * MS,
        "response_start": 7 * MS, "response_first": 7 * MS, "response_end": 8 * MS, "offset": 100,
        "response_offset": 1_000, "request_bytes": len(request), "response_bytes": len(response), "pid": 42,
        "comm": b"x", "role": role, "protocol": pb.HTTP1, "ended_by": pb.NEXT_REQUEST, "local_port": 80,
        "request_segments": 1, "response_segments": 1 if response else 0,
    } | marks  # fmt: skip
    for name, number in given.items():
        turn[name] = number
    for name, text in (("request", request), ("response", response)):
        kept = text[: out.dtype[name].shape[0]]
        out[name][0, : len(kept)] = np.frombuffer(kept, np.uint8)
        turn[f"{name}_captured"] = len(kept)
    tail = response[-layout.TAIL :]
    turn["tail"][layout.TAIL - len(tail) :] = np.frombuffer(tail, np.uint8)
    if "marks" in (out.dtype.names or ()):
        out["marks"]["requests"][0, 0] = (100, given["start"], given["request_end"])
        out["marks"]["responses"][0, 0] = (1_000, given["response_start"], given["response_end"])
    return out
