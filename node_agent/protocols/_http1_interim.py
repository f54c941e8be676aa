"""RFC 9110, 15.2: responses 1xx that came in one system call with the final one are stepped over.

Where they came alone, the kernel has stepped over them already. 101 is final: behind it is another protocol.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from node_agent.protocols._types import Block

_END = b"\r\n\r\n"


def length(head: bytes) -> int:
    """Bytes of the interim responses that `head` begins with, as far as they end in it."""
    at = 0
    while head.startswith(b"HTTP/1.", at) and head[at + 8 : at + 10] == b" 1" and head[at + 9 : at + 12] != b"101":
        end = head.find(_END, at)
        if end < 0:
            break
        at = end + len(_END)
    return at


def behind(block: Block) -> Block:
    """`block` with each response from its final status line on."""
    response = block.response
    some = (response[:, 0] == ord("H")) & (response[:, 9] == ord("1")) & (np.asarray(block.response_captured) >= 12)
    some &= ~((response[:, 10] == ord("0")) & (response[:, 11] == ord("1")))
    rows = np.flatnonzero(some)
    if not rows.size:
        return block
    shifted = response.copy()
    captured, total = np.array(block.response_captured, np.int64), np.array(block.response_bytes, np.int64)
    for row in rows.tolist():
        skip = length(block.head(row))
        shifted[row] = np.roll(shifted[row], -skip)
        captured[row] -= skip
        total[row] -= skip
    return replace(block, response=shifted, response_captured=captured, response_bytes=total)
