import numpy as np
import pytest

from node_agent.protocols import Block, Decoder, Strings, statement_id
from node_agent.protocols._machine import Machine
from node_agent.protocols._strings import Cache

from .turns import NUMBERS, OK, decode_both, query, resp


def test_statement_id_is_pinned():
    # both ends, every host and every release must agree
    assert statement_id(2, "SELECT ?") == 6031406567276138712
    assert statement_id(2, "") == 0
    assert statement_id(2, "SELECT ?") != statement_id(3, "SELECT ?")


def test_hundred_thousand_literals_are_one_statement_parsed_once():
    decoder = Decoder()
    turns = [(query(f"SELECT a FROM t WHERE b = {i} AND c = 'x{i}'"), OK) for i in range(5000)]
    decoded = decoder.decode(NUMBERS["mysql"], Block.of(turns, 128, 64))
    assert decoder.parsed == 2  # one request, one answer
    assert len(set(decoded.statement_id.tolist())) == 1


def test_ids_agree_whatever_record_class_and_path():
    turns = [(query("SELECT a FROM t WHERE b = 1"), OK)] * 30
    ids = set()
    for width in (128, 384, 1024):
        for count in (1, 30):
            ids |= set(Decoder().decode(NUMBERS["mysql"], Block.of(turns[:count], width, 64)).statement_id.tolist())
    assert len(ids) == 1


def test_full_table_of_texts_turns_to_other_and_counts():
    decoder = Decoder(Strings(limit=6))
    turns = [(query(f"SELECT a FROM t{chr(97 + i % 26)}{chr(97 + i // 26)}"), OK) for i in range(60)]
    decoded = decoder.decode(NUMBERS["mysql"], Block.of(turns, 128, 64))
    assert len(decoder.strings) == 6
    assert decoder.strings.overflowed > 50
    assert decoder.strings[int(decoded.statement[-1])] == "~other"
    assert len(set(decoded.statement_id.tolist())) == 60


def test_full_cache_drops_its_older_half():
    cache = Cache(4)
    for i in range(5):
        cache.put(i, i)
    assert (len(cache), cache.evicted, cache.get(0), cache.get(4)) == (3, 2, None, 4)


@pytest.mark.parametrize("rows", [0, 1, 23, 24, 4097])
def test_block_of_any_size_is_decoded(rows):
    turns = [(resp("GET", f"k:{i}"), b"$-1\r\n") for i in range(rows)]
    if not rows:
        empty = Block.of([(b"", b"")], 128, 64).rows(slice(0, 0))
        assert len(Decoder().decode(NUMBERS["redis"], empty).valid) == 0
        return
    decoded = Decoder().decode(NUMBERS["redis"], Block.of(turns, 128, 64))
    assert decoded.valid.all()
    assert decoded.framed.all()


def test_turns_of_several_protocols_widths_and_lengths_agree_by_both_paths():
    for name, requests in (
        ("mysql", [query("SELECT " + "1, " * i) for i in range(200)]),
        ("redis", [resp("SET", "k" * i, "v" * i) for i in range(1, 200)]),
        ("http1", [b"GET /" + b"a/" * i + b" HTTP/1.1\r\n\r\n" for i in range(200)]),
    ):
        decode_both(NUMBERS[name], [(request, b"") for request in requests])


def test_machine_hash_ignores_silent_bytes_and_keeps_order():
    m = Machine()
    m.on("a", range(256), "a")
    m.on("a", b"xyz", "a", "same")
    texts = [b"x1y", b"xy", b"22xy", b"yx", b"x"]
    columns = np.array([list(t.ljust(4, b"\0")) for t in texts], dtype=np.uint8).T.copy()
    hashed, _ = m.hash_rows(columns, np.array([len(t) for t in texts]), np.zeros(5, dtype=np.int64))
    assert hashed[0] == hashed[1] == hashed[2]
    assert len(set(hashed.tolist())) == 3


def test_machine_that_would_emit_zero_is_refused():
    with pytest.raises(ValueError, match="zero"):
        Machine().on("a", b"\0", "a", "same")
