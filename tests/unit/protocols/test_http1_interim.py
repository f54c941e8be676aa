"""Interim responses before a final one."""

from __future__ import annotations

import pytest

from node_agent.protocols import Block, Decoder, Status
from node_agent.protocols._http1_interim import behind, length

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FINAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "skipped"),
    [
        (FINAL, 0),
        (SWITCH, 0),
        (HINTS + FINAL, len(HINTS)),
        (CONTINUE + HINTS + FINAL, len(CONTINUE + HINTS)),
        (HINTS[:-1], 0),
        (b"", 0),
    ],
)
def test_length(head: bytes, skipped: int) -> None:
    assert length(head) == skipped


def test_status_is_the_final_ones() -> None:
    block = Block.of([(GET, HINTS + FINAL), (GET, FINAL)], 128, 256)
    decoder = Decoder()
    decoded = decoder.decode(1, behind(block))
    assert decoded.status.tolist() == [Status.CLIENT_ERROR] * 2
    assert [decoder.strings[code] for code in decoded.status_code] == ["404", "404"]
    assert decoded.framed.all()


def test_nothing_to_step_over_copies_nothing() -> None:
    block = Block.of([(GET, FINAL), (GET, SWITCH)], 128, 256)
    assert behind(block) is block
