"""Columns of a batch: whatever does not fit is refused by section and column, and nothing else gets through."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.config import Limits
from aggregator.ingest import content
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb
from sonde import batches, columns
from tests.support.batches import Builder

LIMITS = Limits(rows=1_000, strings=1_000, name_bytes=64, text_bytes=200)


def full() -> pb.Batch:
    builder = Builder("web", ["10.0.0.1", "fd00::1"])
    link = builder.link("client", "nginx", "10.0.0.1", 40_000, "10.0.0.2", 8080, connection_id=7)
    for _ in range(3):
        builder.request(link)
    builder.unsampled(link, [100, 200, 200])
    builder.connection(link)
    builder.in_flight(link)
    builder.endpoint("::", 80, "nginx")
    builder.statement(5, "SELECT ?")
    builder.agent_stats("requests", {"events/http1": 3}, events=3)
    return builder.build()


def refusal(batch: pb.Batch) -> Refused:
    with pytest.raises(Refused) as caught:
        content.read(batch, LIMITS)
    return caught.value


def test_a_full_batch_is_read() -> None:
    read = content.read(full(), LIMITS)
    assert [read.rows(name) for name in batches.SECTIONS] == [1, 3, 1, 1, 1, 1, 1, 1]
    assert read.addresses[0] == b"\0" * 10 + b"\xff\xff\x0a\x00\x00\x01"


@pytest.mark.parametrize("section", batches.SECTIONS)
def test_every_column_of_unequal_length_is_refused(section) -> None:
    for name, encoding in batches.SECTIONS[section].items():
        batch = full()
        message = getattr(batch, section)
        rows = message.rows + 1
        unequal = bytes(16 * rows) if encoding == batches.ADDRESS else columns.encode(np.full(rows, 300))
        setattr(message, name, unequal)
        refused = refusal(batch)
        assert refused.code == pb.Refusal.BAD_COLUMNS
        assert f"{section}.{name}" in str(refused)
        setattr(message, name, b"")
        assert refusal(batch).code == pb.Refusal.BAD_COLUMNS


BAD = [
    ("links", "role", 3), ("links", "role", 0), ("links", "service", 99), ("links", "pid", 2**32),
    ("links", "local_port", 65_536), ("requests", "link", 1), ("requests", "protocol", 0),
    ("requests", "protocol", 256), ("requests", "status", 6), ("requests", "ended_by", 0),
    ("requests", "operation", 99), ("requests", "statement", 99), ("requests", "weight", 2**32),
    ("unsampled", "link", 1), ("unsampled", "requests", 0), ("unsampled", "requests", 2**32),
    ("unsampled", "duration", 2**60), ("unsampled", "time", 5),
    ("requests", "duration", 2**63), ("requests", "start", 0),
    ("requests", "start", 2**63), ("requests", "request_bytes", 2**45), ("connections", "outcome", 9),
    ("connections", "link", 5), ("connections", "time", 1), ("connections", "opened", 2**60),
    ("endpoints", "port", 70_000), ("statements", "text", 99), ("in_flight", "start", 7),
    ("agent_stats", "probe", 99), ("agent_stats", "interval", 2**63),
]  # fmt: skip


@pytest.mark.parametrize(("section", "column", "value"), BAD)
def test_a_value_out_of_range_is_refused_by_name(section, column, value) -> None:
    batch = full()
    message = getattr(batch, section)
    encode = columns.encode_delta if batches.SECTIONS[section][column] == batches.DELTA else columns.encode
    setattr(message, column, encode(np.full(message.rows, value, dtype=np.uint64)))
    refused = refusal(batch)
    assert refused.code == pb.Refusal.BAD_COLUMNS
    assert f"{section}.{column}" in str(refused)


SKETCH = [
    ("sizes", [2], "add up to"), ("sizes", [2**63], "add up to"), ("bucket", [5, 5], "ascend"),
    ("bucket", [9, 5], "ascend"), ("bucket", [5, 3_000], "out of range"), ("count", [0, 3], "out of range"),
    ("count", [2**40, 3], "out of range"), ("count", [1, 1], "requests of each row"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "values", "says"), SKETCH)
def test_a_sketch_that_does_not_fit_is_refused(column, values, says) -> None:
    batch = full()
    message = batch.unsampled.duration_sketch
    message.entries = 2 if column != "sizes" else 3
    encode = columns.encode_delta if column == "bucket" else columns.encode
    setattr(message, column, encode(np.array(values, dtype=np.uint64)))
    refused = refusal(batch)
    assert refused.code == pb.Refusal.BAD_COLUMNS
    assert says in str(refused)


def test_a_row_that_was_asked_for_is_read() -> None:
    batch = full()
    batch.requests.weight = columns.encode(np.zeros(3))
    assert content.read(batch, LIMITS).sections["requests"]["weight"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("rows", [1_001, 2**32 - 1])
def test_more_rows_than_the_limit_are_refused_before_any_allocation(rows) -> None:
    batch = pb.Batch(strings=[""])
    batch.host.CopyFrom(full().host)
    batch.requests.rows = rows
    for name in batches.SECTIONS["requests"]:
        setattr(batch.requests, name, b"\0")
    assert refusal(batch).code == pb.Refusal.TOO_LARGE


def test_host_must_have_a_name_addresses_and_a_time() -> None:
    for change in ({"name": ""}, {"name": "x" * 256}, {"seen_us": 5}, {"started_us": 2**63}, {"kernel": "x" * 2_000}):
        batch = full()
        for name, value in change.items():
            setattr(batch.host, name, value)
        assert refusal(batch).code == pb.Refusal.BAD_COLUMNS
    batch = full()
    batch.host.addresses.append("not an address")
    assert refusal(batch).code == pb.Refusal.BAD_COLUMNS


def test_long_names_and_texts_are_refused() -> None:
    for section, column, size in (("requests", "operation", 65), ("statements", "text", 201)):
        batch = full()
        batch.strings.append("ä" * size)
        message = getattr(batch, section)
        setattr(message, column, columns.encode(np.full(message.rows, len(batch.strings) - 1)))
        assert refusal(batch).code == pb.Refusal.BAD_COLUMNS


def test_the_first_string_is_empty() -> None:
    batch = full()
    batch.strings[0] = "x"
    assert refusal(batch).code == pb.Refusal.BAD_COLUMNS


def test_repeated_strings_become_one() -> None:
    batch = full()
    batch.strings.append("nginx")
    batch.links.comm = columns.encode(np.array([len(batch.strings) - 1]))
    read = content.read(batch, LIMITS)
    assert len(set(read.strings)) == len(read.strings)
    assert read.strings[int(read.sections["links"]["comm"][0])] == "nginx"


def test_times_that_span_too_many_partitions_are_refused() -> None:
    batch = full()
    day = 86_400_000_000
    batch.requests.start = columns.encode_delta(np.array([20_000 * day, 20_001 * day, 20_200 * day]))
    assert refusal(batch).code == pb.Refusal.BAD_COLUMNS


@settings(max_examples=200, deadline=None)
@given(
    section=st.sampled_from(sorted(batches.SECTIONS)),
    data=st.binary(max_size=40),
    rows=st.integers(0, 40),
    index=st.integers(0, 20),
)
def test_whatever_bytes_a_column_holds_it_is_read_or_refused(section, data, rows, index) -> None:
    batch = full()
    message = getattr(batch, section)
    names = sorted(batches.SECTIONS[section])
    setattr(message, names[index % len(names)], data)
    message.rows = rows or message.rows
    with contextlib.suppress(Refused):
        content.read(batch, LIMITS)
