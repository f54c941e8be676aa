"""Records of the kernel without literals, lengths kept: what `sonde record` writes unless told `--raw`.

Invariants: the masked records give the rows that the original ones give (operation, resource, statement, status,
code, framing, splitting), by any path; of the applications' bytes they hold what those rows show, and lengths.
Bytes that no reader is entitled to (behind the captured ones, between fields, heads of segments that are not read)
are 0. A message that its protocol does not understand, and any of a protocol without a masker, is x.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent import masking_http1, masking_mysql, masking_redis, pipelined
from node_agent.kernel import layout
from node_agent.protocols import Block, Message, Request, http1, mysql, redis, registry
from node_agent.rows import block_of

Array = npt.NDArray[Any]

#: Alphabetical; a protocol without a line here is x.
MASKERS: dict[int, ModuleType] = {
    http1.NUMBER: masking_http1,
    mysql.NUMBER: masking_mysql,
    redis.NUMBER: masking_redis,
}
_REMEMBERED = 4096


def _put(row: Array, text: bytes, at: int = 0) -> None:
    row[:] = 0
    row[at : at + len(text)] = np.frombuffer(text, dtype=np.uint8)


def packed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same fields without what lies between them."""
    if dtype.names is None or dtype.fields is None:
        return dtype
    return np.dtype([(name, dtype.fields[name][0]) for name in dtype.names])


def cleaned(records: Array) -> Array:
    """Copies of records that hold no bytes but those of their fields, and of these only what was captured."""
    out = np.zeros(len(records), dtype=packed(records.dtype))
    for name in out.dtype.names or ():
        out[name] = records[name]
    _clean_names(out)
    if "turn" not in (out.dtype.names or ()):
        return out
    turn = out["turn"]
    _clean_names(turn)
    for name in ("request", "response"):
        width = out[name].shape[1]
        out[name][np.arange(width) >= turn[f"{name}_captured"].astype(np.int64)[:, None]] = 0
    last = np.minimum(turn["response_bytes"], layout.TAIL).astype(np.int64)
    turn["tail"][np.arange(layout.TAIL) < (layout.TAIL - last)[:, None]] = 0
    if "marks" in (out.dtype.names or ()):
        for name, used in (("requests", "request_segments"), ("responses", "response_segments")):
            marks = out["marks"][name]
            marks[np.arange(layout.SEGMENTS) >= turn[used].astype(np.int64)[:, None]] = 0
        heads = out["marks"]["heads"]
        heads[np.arange(layout.SEGMENTS) >= turn["response_segments"].astype(np.int64)[:, None]] = 0
    return out


def _clean_names(records: Array) -> None:
    if "comm" in (records.dtype.names or ()):
        width = records["comm"].dtype.itemsize
        names = np.frombuffer(records["comm"].tobytes(), dtype=np.uint8).reshape(len(records), width).copy()
        names[np.maximum.accumulate(names == 0, axis=1)] = 0
        records["comm"] = names.view(records["comm"].dtype).reshape(-1)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The bytes of one record; `heads` of the answers that a system call each moved, by number of the call."""

    request: bytes
    response: bytes
    tail: bytes
    heads: tuple[bytes, ...] = ()


class Masker:
    """Masks records; remembers what it did to bytes that come often. Not for several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], _Texts] = {}

    def mask(self, records: Array) -> Array:
        """Masked copies of n records of layout.TURNS or layout.REQUEST_CONN, packed, shape (n,)."""
        out = cleaned(records)
        names = out.dtype.names or ()
        if not len(out):
            return out
        block = block_of(out)
        # A socket's own field says what it speaks while its turn is not over.
        protocols = out["protocol"] if "protocol" in names else out["turn"]["protocol"]
        for number in range(len(out)):
            texts = self._texts(int(protocols[number]), out[number : number + 1], _row(block, number))
            _put(out["request"][number], texts.request)
            _put(out["response"][number], texts.response)
            _put(out["turn"]["tail"][number], texts.tail, layout.TAIL - len(texts.tail))
            if "marks" in names:
                heads = out["marks"]["heads"][number]
                heads[:] = 0
                for place, text in enumerate(texts.heads):
                    _put(heads[place], text)
        return out

    def _texts(self, protocol: int, record: Array, block: Block) -> _Texts:
        parts = block.prefix(0), block.head(0), block.last(0)
        sizes = int(block.request_bytes[0]), int(block.response_bytes[0])
        key = (protocol, *sizes, *parts)
        texts = self._known.get(key)
        if texts is None:
            masker, parser = MASKERS.get(protocol), registry.PROTOCOLS.get(protocol)
            if masker is None or parser is None:
                return _Texts(b"x" * len(parts[0]), b"x" * len(parts[1]), b"x" * len(parts[2]))
            found = parser.split(parts[0], sizes[0])
            if len(found) > 1:
                return _several(protocol, record, block, found)
            context = parser.context(*parts, sizes[1])
            asked = [parser.parse_request(parts[0], context)]
            texts = _Texts(
                masker.request(parts[0], context), masker.responses(parts[1], sizes[1], asked), masker.tail(parts[2])
            )
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = texts
        return texts


def _row(block: Block, number: int) -> Block:
    return block.rows(slice(number, number + 1))


def _several(protocol: int, record: Array, block: Block, found: list[Message]) -> _Texts:
    """A turn of several messages, cut as node_agent/pipelined.py cuts it."""
    masker, parser = MASKERS[protocol], registry.PROTOCOLS[protocol]
    head, total = block.head(0), int(block.response_bytes[0])
    _, parts = pipelined.messages(protocol, record, block)
    requests: list[bytes] = []
    asked: list[Request] = []
    answers: list[tuple[bytes, int]] = []
    for number, message in enumerate(found):
        text, answer, answer_bytes = parts.prefix(number), parts.head(number), int(parts.response_bytes[number])
        context = parser.context(text, answer, parts.last(number), answer_bytes)
        requests.append(masker.request(text, context))
        if not message.one_way:
            asked.append(parser.parse_request(text, context))
            answers.append((answer, answer_bytes))
    request, tail = b"".join(requests), masker.tail(block.last(0))
    segments = 1
    if "marks" in (record.dtype.names or ()):
        segments = min(int(record["turn"]["response_segments"][0]), layout.SEGMENTS)
    if segments != len(asked) or segments == 1:
        return _Texts(request, masker.responses(head, total, asked), tail)
    first, *others = (masker.responses(answer, size, [one]) for (answer, size), one in zip(answers, asked, strict=True))
    return _Texts(request, first + b"x" * (len(head) - len(first)), tail, (b"", *others))
