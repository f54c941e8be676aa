"""Rows and sums together are every request, whatever the shares; both ends choose alike; the halves are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from node_agent import rows
from node_agent.budget import EVERYTHING, Shares
from node_agent.choose import Chooser, identities, within
from node_agent.config import AgentSettings
from node_agent.delivery.encoder import Encoder, Interval, concatenate
from node_agent.identity.processes import Process
from node_agent.protocols import Decoder
from proto import sonde_pb2 as pb
from sonde import batches, sketches
from sonde.ids import mix64
from tests.unit.agent.records import MS, record

PATHS, CONNECTIONS, COUNT = 5, 7, 1_009
NONE = Shares((0.0, 0.0, 0.0, 0.0), 1 << 30)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"


def blocks(role: int = pb.CLIENT, slow: int = 3, failed: int = 2, seed: int = 1) -> list[dict[str, Any]]:
    """1,009 requests of one end, `slow` of them lasted 300 ms, `failed` have status 500."""
    rng = np.random.default_rng(seed)
    texts = [b"GET /%c HTTP/1.1\r\n\r\n" % (97 + number) for number in range(PATHS)]
    made = [record(texts[n % PATHS], FAILED if n < failed else OK, role=role) for n in range(COUNT)]
    ring = np.concatenate(made)
    turn = ring["turn"]
    connection = rng.integers(0, CONNECTIONS, COUNT)
    turn["connection"] = 100 + connection
    turn["connection_id"] = mix64(connection.astype(np.uint64) + np.uint64(1))
    turn["offset"] = np.arange(COUNT) * 50
    turn["response_end"] += rng.integers(0, MS, COUNT).astype(np.uint64)
    turn["response_end"][COUNT - slow :] += 300 * MS
    return rows.requests({"large_turns": ring}, 0, rows.Tally(), Decoder())


def sent(chooser: Chooser, given: list[dict[str, Any]]) -> dict[str, Any]:
    return concatenate(chooser.choose([dict(block) for block in given]))


def test_everything_is_sent_while_the_budget_lasts() -> None:
    chooser = Chooser(AgentSettings())
    assert len(sent(chooser, blocks())["start"]) == COUNT
    assert chooser.sums.take() is None
    assert chooser.recent.rows == 0
    assert chooser.seen() == [COUNT - 5, 0, 3, 2]
    assert chooser.seen() == [0, 0, 0, 0]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_rows_and_sums_are_every_request(share: float) -> None:
    chooser = Chooser(AgentSettings())
    chooser.shares = Shares((share, share, 1.0, 1.0), 100)
    given = blocks()
    found = sent(chooser, given)
    sums = chooser.sums.take()
    assert sums is not None
    all_rows = concatenate(given)
    assert len(found["start"]) + int(sums.columns["requests"].sum()) == COUNT
    for name in ("duration", "queue", "receive", "process", "transfer", "request_bytes", "response_bytes"):
        assert int(found[name].sum()) + int(sums.columns[name].sum()) == int(all_rows[name].sum())
    for name in batches.SKETCHES:
        np.testing.assert_array_equal(sums.sketches[name].totals(), sums.columns["requests"])
    assert len(sums.columns["link"] if "link" in sums.columns else sums.columns["time"]) <= PATHS * CONNECTIONS
    slow = (found["flags"] & batches.SLOW) != 0
    assert slow.sum() == 3
    assert (found["status"] == pb.SERVER_ERROR).sum() == 2
    assert chooser.recent.rows == COUNT - len(found["start"])


def test_several_blocks_are_summed_into_the_same_groups() -> None:
    chooser = Chooser(AgentSettings())
    chooser.shares = NONE
    for _ in range(3):
        assert chooser.choose([dict(block) for block in blocks()]) == []
    sums = chooser.sums.take()
    assert sums is not None
    assert int(sums.columns["requests"].sum()) == 3 * COUNT
    assert len(sums.columns["time"]) <= PATHS * CONNECTIONS + 4  # and those that failed
    assert chooser.sums.take() is None


def test_both_ends_choose_alike_and_a_lower_share_chooses_a_subset() -> None:
    def chosen(role: int, share: float) -> set[int]:
        chooser = Chooser(AgentSettings())
        chooser.shares = Shares((share, 1.0, 1.0, 1.0), 100)
        return set(identities(sent(chooser, blocks(role, slow=0, failed=0))).tolist())

    client, server = chosen(pb.CLIENT, 0.3), chosen(pb.SERVER, 0.3)
    assert client == server
    assert 0.2 * COUNT < len(client) < 0.4 * COUNT
    assert chosen(pb.SERVER, 0.1) < client < chosen(pb.CLIENT, 0.5)


def test_all_of_a_share_of_1_and_none_of_0() -> None:
    hashes = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert within(hashes, 1.0).all()
    assert not within(hashes, 0.0).any()


def test_the_other_half_is_found_once_with_weight_0() -> None:
    chooser = Chooser(AgentSettings())
    chooser.shares = NONE
    given = blocks()
    sent(chooser, given)
    everything = concatenate(given)
    exchange = identities(everything)
    chooser.recent.want([int(exchange[5]), int(exchange[900]), 12345])
    found = concatenate(chooser.halves())
    order = np.argsort(identities(found))
    wanted = [5, 900] if exchange[5] < exchange[900] else [900, 5]
    for name in everything:
        if name not in ("weight", "flags"):
            np.testing.assert_array_equal(found[name][order], everything[name][wanted], err_msg=name)
            assert found[name].dtype == everything[name].dtype
    assert found["weight"].tolist() == [0, 0]
    chooser.recent.want([int(exchange[5])])
    assert chooser.halves() == []
    assert chooser.counters()["halves_sent"] == 2


def test_a_row_that_is_asked_for_before_it_comes_is_sent_and_counted_once() -> None:
    chooser = Chooser(AgentSettings())
    chooser.shares = NONE
    given = blocks()
    exchange = identities(concatenate(given))
    chooser.recent.want([int(exchange[5])])
    assert chooser.halves() == []
    found = sent(chooser, given)
    assert identities(found).tolist() == [int(exchange[5])]
    assert found["weight"].tolist() == [1]
    sums = chooser.sums.take()
    assert sums is not None
    assert int(sums.columns["requests"].sum()) == COUNT - 1
    assert not chooser.recent.awaiting


def test_recent_rows_are_bounded_by_bytes_and_seconds() -> None:
    chooser = Chooser(AgentSettings.model_validate({"recent": {"max_bytes": 100_000, "seconds": 60}}))
    chooser.shares = NONE
    for _ in range(10):
        sent(chooser, blocks())
    assert 0 < chooser.recent.bytes <= 100_000
    assert COUNT <= chooser.recent.rows < 10 * COUNT
    chooser.recent.expire(chooser.recent._blocks[-1].at + 61)
    assert (chooser.recent.bytes, chooser.recent.rows) == (0, 0)


def test_nobody_can_ask_without_limit() -> None:
    chooser = Chooser(AgentSettings())
    chooser.recent.want(list(range(1, 30_001)))
    chooser.halves()
    chooser.recent.want([1])
    assert chooser.counters()["halves_missing"] == 10_001
    assert len(chooser.recent._open) == 20_000


def test_texts_of_ordinary_rows_can_be_left_out() -> None:
    made = Decoder()
    chooser = Chooser(AgentSettings.model_validate({"texts": {"share": 0}}))
    ring = np.concatenate([record(b"GET /a HTTP/1.1\r\n\r\n", OK), record(b"GET /b HTTP/1.1\r\n\r\n", FAILED)])
    ring["turn"]["offset"] = [1, 2]
    interval = Interval(requests=chooser.choose(rows.requests({"large_turns": ring}, 0, rows.Tally(), made)))
    encoder = Encoder(made.strings.__getitem__, lambda _, comm: Process("x", comm))
    batch = encoder.encode(interval, pb.Host(name="web"))
    texts = [batch.strings[index] for index in batches.read("requests", batch.requests)["statement"]]
    assert texts == ["", "GET /b"]
    told = batches.read("statements", batch.statements)
    assert sorted(batch.strings[index] for index in told["text"]) == ["GET /a", "GET /b"]


def test_the_section_unsampled_and_statements_of_rows_that_are_not_sent() -> None:
    chooser, decoder = Chooser(AgentSettings()), Decoder()
    chooser.shares = NONE
    ring = np.concatenate([record(b"GET /%c HTTP/1.1\r\n\r\n" % (97 + n % 3), OK, connection=n % 2) for n in range(30)])
    found = rows.requests({"large_turns": ring}, 0, rows.Tally(), decoder)
    interval = Interval(requests=chooser.choose(found), unsampled=chooser.sums.take())
    encoder = Encoder(decoder.strings.__getitem__, lambda _, comm: Process("x", comm))
    batch = encoder.encode(interval, pb.Host(name="web"), statements=2)
    assert batch.requests.rows == 0
    assert batch.links.rows == 2
    columns = batches.read("unsampled", batch.unsampled)
    assert sorted({batch.strings[index] for index in columns["resource"]}) == ["/a", "/b", "/c"]
    assert columns["requests"].tolist() == [5] * 6
    sketch = sketches.read(batch.unsampled.duration_sketch, 6, 100)
    assert sketch.totals().tolist() == [5] * 6
    assert batch.statements.rows == 2  # no more first sightings than the budget allows; the third comes later


def test_shares_again_at_1() -> None:
    chooser = Chooser(AgentSettings())
    chooser.shares = NONE
    sent(chooser, blocks())
    chooser.shares = EVERYTHING
    assert len(sent(chooser, blocks(seed=2))["start"]) == COUNT
