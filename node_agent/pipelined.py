"""Turns that hold several requests, taken apart: pipelined HTTP and Redis, MySQL's COM_STMT_CLOSE before a query.

Requests are cut by their own framing, and each finds its arrival and its read (or its write) by its stream offset.
Answers are cut by the system calls that moved them, where there are as many as answers; else by their own framing,
as far as the kept bytes show it; else every answer has the times of the whole burst. What lies behind the kept
prefix stays part of the last message that it shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.kernel import layout
from node_agent.protocols import Block, Message, registry
from proto import sonde_pb2 as pb

Array = npt.NDArray[Any]

_TAIL = layout.TAIL


def _covering(segments: Array, offset: int) -> Any:
    """The segment that holds the byte at `offset`: the last one that begins at or before it."""
    begins = segments["offset"]
    return segments[max(int(np.searchsorted(begins, offset, side="right")) - 1, 0)]


def _arrival(arrivals: Array, offset: int) -> int | None:
    hits = arrivals[(arrivals["begin"] <= offset) & (offset < arrivals["end"])]
    return int(hits["time"].min()) if len(hits) else None


def answer_lengths(parser: Any, head: bytes, requests: list[Any]) -> list[int]:
    """Lengths of the first answers, one for each of `requests`, as far as the framing in `head` shows.

    The last of them may end behind `head`.
    """
    lengths: list[int] = []
    start = 0
    for request in requests:
        end = parser.response_end(head, start, request)
        if end is None:
            break
        lengths.append(end - start)
        start = end
        if end > len(head):
            break
    return lengths


class _Turn:
    """One turn and its marks; a record without marks has one segment each way."""

    def __init__(self, record: Any) -> None:
        self.turn = turn = record["turn"]
        if "marks" in record.dtype.names:
            marks = record["marks"]
            self.requests = marks["requests"][: min(int(turn["request_segments"]), layout.SEGMENTS)]
            self.responses = marks["responses"][: min(int(turn["response_segments"]), layout.SEGMENTS)]
            self.arrivals, self.heads = marks["arrivals"], marks["heads"]
        else:
            self.requests = np.zeros(1, layout.SEGMENT)
            self.requests[0] = (turn["offset"], turn["start"], turn["request_end"])
            self.responses = np.zeros(1, layout.SEGMENT)
            self.responses[0] = (turn["response_offset"], turn["response_start"], turn["response_end"])
            self.arrivals, self.heads = np.zeros(0, layout.ARRIVAL), np.zeros((0, 16), np.uint8)

    def time_request(self, out: Any, message: Message) -> None:
        """Marks of the request side of one message."""
        offset = int(self.turn["offset"]) + message.offset
        end = offset + (message.length or 1) - 1
        first, last = _covering(self.requests, offset), _covering(self.requests, end)
        out["offset"] = offset
        out["start"] = first["enter"]
        out["request_first"] = first["exit"] or self.turn["request_first"]
        out["request_end"] = last["exit"] or self.turn["request_end"]
        if self.turn["role"] == pb.SERVER and offset != int(self.turn["offset"]):
            arrived = _arrival(self.arrivals, offset)
            # Without several arrivals, what one read took came at one moment: the segment's.
            together = offset == int(first["offset"]) or not int(self.turn["flags"]) & layout.SEVERAL_ARRIVALS
            if arrived is None and together and first["enter"] < first["exit"]:
                arrived = int(first["enter"])
            exact = arrived is not None
            out["start"] = min(arrived, int(out["request_first"])) if arrived is not None else out["request_first"]
            out["flags"] = int(out["flags"]) & ~layout.QUEUE_NOT_EXACT | (0 if exact else layout.QUEUE_NOT_EXACT)

    def time_response(self, out: Any, begin: int, end: int) -> None:
        """Marks of the answer at stream offsets [begin, end)."""
        first, last = _covering(self.responses, begin), _covering(self.responses, max(end - 1, begin))
        out["response_start"] = first["enter"]
        out["response_first"] = first["enter"] if self.turn["role"] == pb.SERVER else first["exit"]
        several = int(self.turn["flags"]) & layout.SEVERAL_ARRIVALS
        if self.turn["role"] == pb.CLIENT and several and begin != int(first["offset"]):
            arrived = _arrival(self.arrivals, begin)
            out["response_start"] = first["exit"] if arrived is None else min(arrived, int(first["exit"]))
            out["flags"] = int(out["flags"]) | (layout.QUEUE_NOT_EXACT if arrived is None else 0)
        # Behind the last segment that was kept lie others: then the turn's own end is all that is known.
        all_kept = len(self.responses) == int(self.turn["response_segments"])
        known = all_kept or last["offset"] != self.responses[-1]["offset"]
        rest = end >= int(self.turn["response_offset"]) + int(self.turn["response_bytes"])
        out["response_end"] = last["exit"] if known and last["exit"] and not rest else self.turn["response_end"]


def _one(parser: Any, record: Any, prefix: bytes, head: bytes) -> list[tuple[Any, bytes, bytes]]:
    """(turn, request bytes, answer's first bytes) of each message of one record."""
    whole = _Turn(record)
    turn = whole.turn
    found = parser.split(prefix, int(turn["request_bytes"]))
    answered = [number for number, message in enumerate(found) if not message.one_way]
    texts = [prefix[m.offset : m.offset + m.length if m.length is not None else None] for m in found]
    total = int(turn["response_bytes"])
    by_segment = len(whole.responses) == len(answered) > 1
    lengths = [] if by_segment else answer_lengths(parser, head, [parser.parse_request(texts[n]) for n in answered])
    out = []
    position = 0
    for number, message in enumerate(found):
        row = np.zeros((), layout.TURN)
        row[()] = turn
        whole.time_request(row, message)
        row["request_bytes"] = message.length or int(turn["request_bytes"]) - message.offset
        row["gap"] = turn["gap"] if number == 0 else 0
        answer = b""
        if message.one_way:
            row["response_bytes"] = 0
            row["response_start"] = row["response_first"] = row["response_end"] = row["request_end"]
        else:
            order = answered.index(number)
            last = order == len(answered) - 1
            begin = int(turn["response_offset"]) + position
            if by_segment:
                begin = int(whole.responses[order]["offset"])
                end = int(turn["response_offset"]) + total if last else int(whole.responses[order + 1]["offset"])
                answer = head[: end - begin] if order == 0 else whole.heads[order].tobytes()[: end - begin]
                row["response_bytes"] = end - begin
                whole.time_response(row, begin, end)
            elif order < len(lengths):
                answer = head[position : position + lengths[order]]
                row["response_bytes"] = lengths[order] if not last else max(total - position, 1)
                whole.time_response(row, begin, begin + int(row["response_bytes"]))
            else:
                answer = head[position : position + _TAIL] if order == len(lengths) else b""
                row["response_bytes"] = max(total - position if last else 0, len(answer), 1)
            position += int(row["response_bytes"])
        out.append((row, texts[number], answer))
    return out


def hidden(protocol: int, turn: Any, prefix: bytes) -> bool:
    """Whether a turn may hold messages behind its kept prefix, which nobody has counted."""
    last = registry.PROTOCOLS[protocol].split(prefix, int(turn["request_bytes"]))[-1]
    return last.length is None or last.offset + last.length < int(turn["request_bytes"])


def messages(protocol: int, records: Array, block: Block) -> tuple[Array, Block]:
    """Rows of all messages in n records: turns of layout.TURN, shape (m,), and their texts."""
    parser = registry.PROTOCOLS[protocol]
    rows = [
        item
        for number in range(len(records))
        for item in _one(parser, records[number], block.prefix(number), block.head(number))
    ]
    turns = np.array([row for row, _, _ in rows], dtype=layout.TURN)

    def matrix(texts: list[bytes], width: int) -> npt.NDArray[np.uint8]:
        padded = b"".join(text[:width].ljust(width, b"\0") for text in texts)
        return np.frombuffer(padded, dtype=np.uint8).reshape(-1, width)

    requests = [request for _, request, _ in rows]
    answers = [answer for _, _, answer in rows]
    tails = [answer[-_TAIL:] if len(answer) == int(turn["response_bytes"]) else b"" for turn, _, answer in rows]
    texts = Block(
        request=matrix(requests, layout.REQUEST_MAX),
        request_captured=np.array([min(len(text), layout.REQUEST_MAX) for text in requests]),
        request_bytes=turns["request_bytes"],
        response=matrix(answers, layout.RESPONSE_MAX),
        response_captured=np.array([min(len(text), layout.RESPONSE_MAX) for text in answers]),
        tail=matrix(tails, _TAIL),
        tail_captured=np.array([len(text) for text in tails]),
        response_bytes=turns["response_bytes"],
    )
    return turns, texts
