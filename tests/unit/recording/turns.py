"""Ring records as the kernel writes them, and the rows that the agent makes of them."""

import numpy as np

from node_agent import rows
from node_agent.kernel import layout
from node_agent.protocols import Decoder

TEXTS = ("operation", "resource", "statement", "status_code")
NOISE = np.frombuffer(b"LEFTOVER" * 200, dtype=np.uint8)


def records(protocol, turns, ring="small_turns", segments=None):
    """One record of each (request, response); `segments`: sizes of the calls that moved each response."""
    dtype = layout.TURNS[ring]
    out = np.zeros(len(turns), dtype=dtype)
    for number, (request, response) in enumerate(turns):
        record, turn = out[number], out[number]["turn"]
        for name, text in (("request", request), ("response", response)):
            width = record[name].shape[0]
            # What lies behind the captured bytes is of earlier requests.
            record[name][:] = NOISE[:width]
            kept = text[:width]
            record[name][: len(kept)] = np.frombuffer(kept, np.uint8)
            turn[f"{name}_captured"], turn[f"{name}_bytes"] = len(kept), len(text)
        turn["tail"][:] = NOISE[: layout.TAIL]
        last = response[-layout.TAIL :]
        turn["tail"][layout.TAIL - len(last) :] = np.frombuffer(last, np.uint8)
        turn["protocol"], turn["role"], turn["pid"], turn["comm"] = protocol, 2, 7, b"server"
        turn["connection"] = turn["connection_id"] = number + 1
        times = ("start", "request_first", "request_end", "response_start", "response_first", "response_end")
        for order, name in enumerate(times, 1):
            turn[name] = number * 1_000_000 + order * 10_000
        turn["offset"], turn["response_offset"] = 100 * number, 200 * number
        turn["request_segments"] = turn["response_segments"] = 1
        if ring == "large_turns":
            _segments(record, turn, response, segments[number] if segments else [len(response)])
    return out


def _segments(record, turn, response, sizes):
    marks = record["marks"]
    marks["heads"][:] = NOISE[:16]
    marks["requests"][0] = (turn["offset"], turn["start"], turn["request_end"])
    turn["response_segments"], at = len(sizes), 0
    for place, size in enumerate(sizes[: layout.SEGMENTS]):
        time = int(turn["response_start"]) + place * 1000
        marks["responses"][place] = (int(turn["response_offset"]) + at, time, time + 500)
        if place and size >= 12:
            head = response[at : at + min(size, 16)]
            marks["heads"][place][: len(head)] = np.frombuffer(head, np.uint8)
        elif place:
            marks["heads"][place][:] = 0
        at += size


def shown(some, ring="small_turns"):
    """Rows of records, texts for indices, and the tally."""
    decoder, tally = Decoder(), rows.Tally()
    out = []
    for block in rows.requests({ring: some}, 10**18, tally, decoder):
        for row in range(len(block["start"])):
            values = {name: column[row].tolist() for name, column in block.items()}
            out.append({name: decoder.strings[value] if name in TEXTS else value for name, value in values.items()})
    return out, vars(tally)
