"""Batches from columns: dictionary, links, statements once, and what the aggregator reads back."""

from __future__ import annotations

from typing import Any

import numpy as np

from node_agent import rows
from node_agent.delivery.encoder import Encoder, Interval
from node_agent.identity.processes import Process
from node_agent.protocols import Decoder
from proto import sonde_pb2 as pb
from sonde import batches
from tests.unit.agent.records import record

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Made:
    def __init__(self) -> None:
        self.decoder = Decoder()
        self.encoder = Encoder(
            self.decoder.strings.__getitem__, lambda pid, comm: Process(f"service-{pid}", comm), remembered=3
        )

    def interval(self, *records: Any) -> Interval:
        found = rows.requests({"large_turns": np.concatenate(records)}, 0, rows.Tally(), self.decoder)
        return Interval(requests=found)

    def encode(self, *records: Any) -> pb.Batch:
        return self.encoder.encode(self.interval(*records), pb.Host(name="web"))


def get(path: str, **marks: Any) -> Any:
    return record(f"GET {path} HTTP/1.1\r\n\r\n".encode(), OK, **marks)


def test_texts_links_and_rows() -> None:
    made = Made()
    batch = made.encode(get("/a"), get("/b"), get("/a", connection=9, pid=43), get("/a"))
    requests, links = batches.read("requests", batch.requests), batches.read("links", batch.links)
    assert batch.strings[0] == ""
    assert len(set(batch.strings)) == len(batch.strings)
    assert [batch.strings[index] for index in requests["resource"]] == ["/a", "/b", "/a", "/a"]
    assert batch.links.rows == 2
    assert [batch.strings[links["service"][link]] for link in requests["link"]] == [
        "service-42", "service-42", "service-43", "service-42",
    ]  # fmt: skip
    assert [batch.strings[index] for index in links["comm"]] == ["x", "x"]
    assert set(requests["status_code"]) == {list(batch.strings).index("200")}


def test_statement_texts_are_sent_once_until_forgotten() -> None:
    made = Made()

    def sent(*paths: str) -> list[str]:
        batch = made.encode(*(get(path) for path in paths))
        found = batches.read("statements", batch.statements)
        return sorted(batch.strings[index] for index in found["text"])

    assert sent("/a", "/b", "/a") == ["GET /a", "GET /b"]
    assert sent("/a", "/c") == ["GET /c"]
    assert sent("/a") == []
    made.encoder.forget_statements()
    assert sent("/a") == ["GET /a"]
    assert sent("/d", "/e", "/f") == ["GET /d", "GET /e", "GET /f"]  # more than are remembered: all forgotten
    assert sent("/a") == ["GET /a"]


def test_same_statement_has_the_same_id_in_every_batch() -> None:
    first, second = (batches.read("requests", Made().encode(get("/a")).requests) for _ in range(2))
    assert first["statement_id"].tolist() == second["statement_id"].tolist() != [0]


def test_all_sections() -> None:
    made = Made()
    interval = made.interval(get("/a"))
    interval.endpoints = [(bytes(16), 80, Process("nginx", "nginx"), 7)]
    interval.agent_stats = [{"probe": "requests", "time": 1, "lost_in_kernel": 3, "details": {"no_room": 2}}]
    batch = made.encoder.encode(interval, pb.Host(name="web"))
    assert batches.read("endpoints", batch.endpoints)["port"].tolist() == [80]
    stats = batches.read("agent_stats", batch.agent_stats)
    assert stats["lost_in_kernel"].tolist() == [3]
    assert dict(batch.agent_stats.details[0].counts) == {"no_room": 2}


def test_empty_interval() -> None:
    batch = Made().encoder.encode(Interval(), pb.Host(name="web"))
    assert batch.requests.rows == batch.links.rows == 0
    assert list(batch.strings) == [""]
