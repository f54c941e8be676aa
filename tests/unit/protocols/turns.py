"""What the tests of the protocols share: turns, blocks, and the comparison of both paths."""

import json
from pathlib import Path

import numpy as np

from node_agent.protocols import Block, Decoded, Decoder, registry
from node_agent.protocols import _decoder as decoder_module

DATA = Path(__file__).parents[2] / "data"
NUMBERS = {name: number for number, name in registry.NAMES.items()}
OK = b"\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
EOF_PACKET = b"\x05\x00\x00\x05\xfe\x00\x00\x02\x00"
#: What lies behind the captured bytes must not matter.
NOISE = b"\n\r\n'\r\n\r\n0\r\n\r\ncontent-length: 7\r\n$3\r\n\n"
TEXTS = ("operation", "resource", "statement", "status_code")


def query(text, command=3):
    payload = bytes([command]) + (text.encode() if isinstance(text, str) else text)
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def error(number, sqlstate="42000", message="wrong"):
    payload = b"\xff" + number.to_bytes(2, "little") + b"#" + sqlstate.encode() + message.encode()
    return len(payload).to_bytes(3, "little") + b"\x01" + payload


def resp(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def golden(name):
    return [tuple(map(bytes.fromhex, turn)) for turn in json.loads((DATA / f"{name}.json").read_text())["turns"]]


def rows_of(decoded, strings):
    """Decoded columns as a list of dictionaries, texts for indices."""
    out = []
    for row in range(len(decoded.valid)):
        values = {name: getattr(decoded, name)[row].item() for name in Decoded.__slots__}
        out.append({name: strings[value] if name in TEXTS else value for name, value in values.items()})
    return out


def decode_both(protocol, turns, width=128, answer_width=64):
    """Rows of `turns` by keys and row by row, which must be the same; returns them with the decoder."""
    block = Block.of(turns, width, answer_width)
    noisy = Block(*(getattr(block, name).copy() for name in Block.__slots__))
    for octets, captured in (
        (noisy.request, noisy.request_captured),
        (noisy.response, noisy.response_captured),
        (noisy.tail, noisy.tail_captured),
    ):
        behind = np.arange(octets.shape[1]) >= captured[:, None]
        place = np.maximum(np.arange(octets.shape[1]) - captured.astype(np.int64)[:, None], 0)
        np.copyto(octets, np.frombuffer(NOISE, np.uint8)[place % len(NOISE)], where=behind)
    whole, single = Decoder(), Decoder()
    small, decoder_module.SMALL = decoder_module.SMALL, 0
    try:
        fast = rows_of(whole.decode(protocol, noisy), whole.strings)
    finally:
        decoder_module.SMALL = small
    slow = rows_of(single.decode_scalar(protocol, block), single.strings)
    for turn, a, b in zip(turns, fast, slow, strict=True):
        assert a == b, turn
    return fast, whole


def shown(rows):
    """All texts of all rows, for a search for secrets."""
    return "\n".join(str(row[name]) for row in rows for name in TEXTS)
