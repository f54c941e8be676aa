"""From ring records to columns: DESIGN.md section 3, at both ends, one turn and several in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from node_agent import rows
from node_agent.delivery.encoder import concatenate
from node_agent.kernel import layout
from node_agent.protocols import Decoder
from proto import sonde_pb2 as pb
from sonde import batches
from tests.unit.agent.records import MS, record

GET = b"GET /a HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RINGS = list(layout.TURNS)


def columns(*records: Any, ring: str = "large_turns", offset_ns: int = 0) -> tuple[dict[str, Any], rows.Tally]:
    tally, decoder = rows.Tally(), Decoder()
    made = concatenate(rows.requests({ring: np.concatenate(records)}, offset_ns, tally, decoder))
    for name in ("operation", "resource", "statement", "status_code"):
        if made:
            made[name] = np.array([decoder.strings[index] for index in made[name]], dtype=object)
    return made, tally


def times(made: dict[str, Any], row: int = 0) -> dict[str, float]:
    return {name: made[name][row] / 10_000 for name in ("duration", "queue", "receive", "process", "transfer", "gap")}


@pytest.mark.parametrize("ring", RINGS)
def test_server(ring: str) -> None:
    made, tally = columns(record(GET, OK, ring, gap=9 * MS), ring=ring, offset_ns=5_000_000_000)
    assert times(made) == {"duration": 7, "queue": 2, "receive": 1, "process": 3, "transfer": 1, "gap": 0}
    assert made["start"][0] == 5_001_000
    assert (made["ended_by"][0], made["status"][0], made["status_code"][0]) == (pb.FRAMING, pb.OK, "200")
    assert (made["operation"][0], made["resource"][0]) == ("GET", "/a")
    assert (tally.turns, tally.requests, tally.unparsed) == (1, 1, 0)


def test_client() -> None:
    made, _ = columns(
        record(GET, OK, role=pb.CLIENT, request_first=1 * MS, response_start=6 * MS, response_first=7 * MS, gap=9 * MS)
    )
    assert times(made) == {"duration": 7, "queue": 1, "receive": 3, "process": 2, "transfer": 1, "gap": 9}


def test_write_that_returned_after_the_answer_came() -> None:
    made, _ = columns(record(GET, OK, role=pb.CLIENT, request_end=7 * MS, response_start=5 * MS, response_first=6 * MS))
    assert times(made) == {"duration": 7, "queue": 1, "receive": 4, "process": 0, "transfer": 2, "gap": 0}


def test_no_answer() -> None:
    made, _ = columns(record(GET, b"", ended_by=pb.CLOSE))
    assert (made["status"][0], made["ended_by"][0], made["status_code"][0]) == (pb.NO_RESPONSE, pb.CLOSE, "")


def test_flags() -> None:
    made, _ = columns(record(GET, OK, flags=layout.QUEUE_NOT_EXACT, connection_id=0))
    assert made["flags"][0] == batches.QUEUE_NOT_EXACT | batches.NO_EXCHANGE_ID


def test_what_is_not_its_protocol_is_counted() -> None:
    made, tally = columns(record(GET, OK), record(b"GET\x00\xff\r\n", OK))
    assert len(made["start"]) == 1
    assert (tally.turns, tally.requests, tally.unparsed) == (2, 1, 1)
    assert tally.details == {"unparsed/http1": 1}


def test_nothing_is_nothing() -> None:
    made, tally = columns(record(GET, OK)[:0])
    assert made == {}
    assert tally.turns == 0


def test_one_way_has_no_process() -> None:
    quit_ = b"\x01\x00\x00\x00\x01"
    made, _ = columns(record(quit_, b"", protocol=pb.MYSQL, response_start=90 * MS, response_end=90 * MS))
    assert made["status"][0] == pb.ONE_WAY
    assert times(made) == {"duration": 3, "queue": 2, "receive": 1, "process": 0, "transfer": 0, "gap": 0}
    assert made["ended_by"][0] == pb.FRAMING


def pipelined(count: int, **marks: Any) -> Any:
    """`count` requests that came 1 ms apart, read at once at 20 ms, answered one by one from 21 ms on."""
    texts = [b"GET /%c HTTP/1.1\r\n\r\n" % (97 + number) for number in range(count)]
    size, answer = len(texts[0]), len(OK)
    made = record(b"".join(texts), OK * count, **{
        "start": 1 * MS, "request_first": 20 * MS, "request_end": 20 * MS, "response_start": 21 * MS,
        "response_first": 21 * MS, "response_end": (21 + count) * MS, "response_segments": count,
        "flags": layout.SEVERAL_ARRIVALS,
    } | marks)  # fmt: skip
    marks_of = made["marks"][0]
    marks_of["requests"][0] = (100, 1 * MS, 20 * MS)
    for number in range(count):
        begin = 100 + number * size
        marks_of["arrivals"][number % 8] = (begin, begin + size, (1 + number) * MS)
        if number < 8:
            marks_of["responses"][number] = (1_000 + number * answer, (21 + number) * MS, (22 + number) * MS)
            marks_of["heads"][number] = np.frombuffer(OK[:16], np.uint8)
    return made


def test_pipelined_server_rows_have_their_own_arrivals() -> None:
    made, tally = columns(pipelined(3))
    assert made["resource"].tolist() == ["/a", "/b", "/c"]
    assert (made["queue"] / 10_000).tolist() == [19, 18, 17]
    assert (made["process"] / 10_000).tolist() == [1, 2, 3]
    assert (made["transfer"] / 10_000).tolist() == [1, 1, 1]
    size = len(b"GET /a HTTP/1.1\r\n\r\n")
    assert made["offset"].tolist() == [100, 100 + size, 100 + 2 * size]
    assert set(made["request_bytes"]) == {size}
    assert set(made["response_bytes"]) == {len(OK)}
    assert set(made["status_code"]) == {"200"}
    assert not made["flags"].any()
    assert (tally.turns, tally.requests) == (1, 3)


def test_overwritten_arrivals_are_flagged_not_guessed() -> None:
    made, _ = columns(pipelined(12))
    flagged = (made["flags"] & batches.QUEUE_NOT_EXACT) != 0
    assert flagged.tolist() == [False] + [True] * 3 + [False] * 8
    assert (made["queue"][flagged] == 0).all()


def test_one_arrival_for_all_is_exact() -> None:
    made, _ = columns(pipelined(3, flags=0))
    assert not (made["flags"] & batches.QUEUE_NOT_EXACT).any()


def test_bytes_of_a_burst_add_up_when_answers_are_longer_than_what_is_kept() -> None:
    body = b"x" * 5_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + body
    made, _ = columns(
        record(GET * 2, answer * 2, role=pb.CLIENT, request_first=1 * MS, response_segments=9, response_end=50 * MS)
    )
    assert made["response_bytes"].tolist() == [len(answer)] * 2
    assert set(made["status_code"]) <= {"200", ""}
    assert made["duration"].tolist() == [490_000] * 2  # where the first one ended is not known


def test_answers_read_at_once_by_the_client() -> None:
    """An answer that came after another one was read with it: its own arrival, so that the network is not negative."""
    made = record(GET * 2, OK * 2, role=pb.CLIENT, request_first=1 * MS, request_end=2 * MS, response_start=5 * MS,
                  response_first=9 * MS, response_end=9 * MS, flags=layout.SEVERAL_ARRIVALS)  # fmt: skip
    made["marks"]["responses"][0, 0] = (1_000, 5 * MS, 9 * MS)
    made["marks"]["arrivals"][0, 0] = (1_000, 1_000 + len(OK), 5 * MS)
    made["marks"]["arrivals"][0, 1] = (1_000 + len(OK), 1_000 + 2 * len(OK), 8 * MS)
    got, _ = columns(made)
    assert (got["queue"] / 10_000).tolist() == [4, 1]


def test_in_flight() -> None:
    decoder = Decoder()
    conns = np.zeros(2, layout.REQUEST_CONN)
    conns["protocol"], conns["number"], conns["role"] = pb.HTTP1, [3, 4], [pb.CLIENT, pb.SERVER]
    for row, text in enumerate((GET, b"nonsense")):
        conns["request"][row, : len(text)] = np.frombuffer(text, np.uint8)
        conns["turn"]["request_captured"][row] = conns["turn"]["request_bytes"][row] = len(text)
    conns["turn"]["start"] = 7_000_000
    (made,) = rows.in_flight(conns, 1_000_000, decoder)
    assert made["start"].tolist() == [8_000]
    assert decoder.strings[int(made["resource"][0])] == "/a"
    assert made["connection"].tolist() == [3]


def test_guessed_protocols() -> None:
    from node_agent.probes.requests import guess_protocols

    texts = [GET, b"POST / HTTP/1.1\r\n", b"*2\r\n$3\r\nGET", b"\x16\x03\x01\x02", b"*x\r\n", b"GE"]
    conns = np.zeros(len(texts), layout.REQUEST_CONN)
    for row, text in enumerate(texts):
        conns["request"][row, : len(text)] = np.frombuffer(text, np.uint8)
        conns["turn"]["request_captured"][row] = len(text)
    conns["protocol"][1] = pb.MYSQL
    guess_protocols(conns)
    assert conns["protocol"].tolist() == [pb.HTTP1, pb.MYSQL, pb.REDIS, 0, 0, 0]
