"""The rule at the top of proto/sonde.proto: what older and newer releases send is read."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.config import AggregatorSettings
from aggregator.ingest import content, seal
from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION, batches
from sonde.errors import WireError
from tests.data import record_batches, record_fields
from tests.support.batches import Builder, seal_bytes

WIRE = Path(record_fields.FILE).parent
LIMITS = AggregatorSettings().limits
#: Field 900, "new": what a later release may add anywhere.
NEW_FIELD = b"\xa2\x38\x03new"


def receive(frame: bytes, agent: str) -> tuple[pb.SealedBatch, pb.Batch, content.Content]:
    """The aggregator's way from a message of the stream to columns."""
    sealed = seal.parse_message(frame, LIMITS).batch
    seal.check(sealed, agent, LIMITS)
    batch = seal.open_batch(sealed, LIMITS)
    return sealed, batch, content.read(batch, LIMITS)


def message(sealed: bytes) -> bytes:
    """A SealedBatch as a message of the stream."""
    return pb.AgentMessage(batch=pb.SealedBatch.FromString(sealed)).SerializeToString()


def plain(column: Any) -> list[Any]:
    return [bytes(row).hex() for row in column] if column.ndim == 2 else column.tolist()


@pytest.mark.parametrize("golden", sorted(WIRE.glob("*.bin")), ids=lambda path: path.stem)
def test_batches_of_every_release_are_read_exactly(golden: Path) -> None:
    wanted = json.loads(golden.with_suffix(".json").read_text(encoding="utf-8"))
    sealed, batch, found = receive(message(golden.read_bytes()), "golden-web")
    assert (sealed.sequence, sealed.spool_id) == (record_batches.SEQUENCE, record_batches.SPOOL_ID)
    host = {name: getattr(batch.host, name) for name in ("name", "seen_us", "started_us", "replay")}
    assert host | {"addresses": list(batch.host.addresses), "tags": dict(batch.host.tags)} == wanted["host"]
    assert found.strings == wanted["strings"]
    assert found.details == wanted["details"]
    for section, columns in wanted["sections"].items():
        read = {name: plain(column) for name, column in found.sections[section].items()}
        assert {name: read[name] for name in columns} == columns, section
        assert not any(any(read[name]) for name in read.keys() - columns.keys()), "columns of later releases are 0"
    for section in found.sections.keys() - wanted["sections"].keys():
        assert found.rows(section) == 0
    for name, rows in wanted["sketches"].items():
        sketches, starts = found.sketches[name], found.sketches[name].starts
        pairs = list(zip(sketches.keys.tolist(), sketches.counts.tolist(), strict=True))
        assert [[list(pair) for pair in pairs[a:b]] for a, b in itertools.pairwise(starts)] == rows


def test_this_release_is_among_them() -> None:
    sections = [json.loads(path.read_text(encoding="utf-8"))["sections"] for path in WIRE.glob("*.json")]
    newest = {
        (section, column) for one in sections for section, columns in one.items() for column, rows in columns.items()
    }
    now = {(section, column) for section, columns in batches.SECTIONS.items() for column in columns}
    assert now == newest, "run `python -m tests.data.record_batches NAME`, and commit the new files"


def test_no_field_was_removed_renumbered_or_given_another_type() -> None:
    known = set(record_fields.FILE.read_text().splitlines())
    assert not known - record_fields.fields(), "old agents still send these; `reserved` is for wire_version 2"
    assert not record_fields.fields() - known, "run `python -m tests.data.record_fields`"


def with_new_fields() -> pb.SealedBatch:
    """A batch of this release, and a field in every message that this release does not know."""
    batch = record_batches.build().build()
    for name in batches.SECTIONS:
        section = getattr(batch, name)
        section.MergeFromString(NEW_FIELD)
    batch.host.MergeFromString(NEW_FIELD)
    return seal_bytes(batch.SerializeToString() + NEW_FIELD, "golden-web", 1)


def test_unknown_fields_are_ignored() -> None:
    assert b"new" in pb.Host.FromString(NEW_FIELD).SerializeToString(), "the field is there, and not known"
    frame = pb.AgentMessage(batch=pb.SealedBatch.FromString(with_new_fields().SerializeToString() + NEW_FIELD))
    _, _, found = receive(frame.SerializeToString() + NEW_FIELD, "golden-web")
    _, _, same = receive(message(record_batches.build().seal(1).SerializeToString()), "golden-web")
    for section, columns in same.sections.items():
        for name, column in columns.items():
            np.testing.assert_array_equal(column, found.sections[section][name])
    hello = pb.Hello.FromString(pb.Hello(wire_version=WIRE_VERSION, agent="web").SerializeToString() + NEW_FIELD)
    parsed = seal.parse_message(pb.AgentMessage(hello=hello).SerializeToString(), LIMITS)
    assert (parsed.hello.agent, parsed.hello.wire_version) == ("web", WIRE_VERSION)


def test_a_protocol_of_a_newer_agent_is_other() -> None:
    builder = Builder("web")
    link = builder.link("client", "nginx", "10.1.0.1", 40_001, "10.1.0.2", 80)
    for protocol in (pb.REDIS, max(pb.Protocol.values()) + 1, 255):
        builder.request(link, protocol=protocol)
    _, _, found = receive(message(builder.seal(1).SerializeToString()), "web")
    assert found.sections["requests"]["protocol"].tolist() == [pb.REDIS, 0, 0]


def two_rows() -> pb.Statements:
    made = pb.Statements()
    batches.fill("statements", made, {name: np.array([3, 4]) for name in batches.SECTIONS["statements"]})
    return made


@pytest.mark.parametrize(
    ("encoding", "shape"), [(batches.PLANES, (2,)), (batches.DELTA, (2,)), (batches.ADDRESS, (2, 16))]
)
def test_a_column_that_older_agents_do_not_send_is_zeros(
    encoding: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = two_rows()
    older.ClearField("text")
    with pytest.raises(WireError, match=r"statements\.text: column is missing"):
        batches.read("statements", older)
    monkeypatch.setitem(batches.SECTIONS["statements"], "text", encoding)
    monkeypatch.setitem(batches.ADDED, "statements", frozenset({"text"}))
    read = batches.read("statements", older)
    assert read["text"].shape == shape
    assert not read["text"].any()
    assert read["protocol"].tolist() == [3, 4]


def test_every_field_of_the_proto_says_what_it_is() -> None:
    text = (Path(__file__).parents[2] / "proto" / "sonde.proto").read_text(encoding="utf-8")
    text = re.sub(r"enum Protocol \{.*?\}", "", text, flags=re.DOTALL)  # their names say it
    fields = re.findall(r"^ +(?:repeated |map<.*> )?(?:\w+ )?\w+ = \d+;.*$", text, re.MULTILINE)
    assert len(fields) > 150
    assert [line for line in fields if "//" not in line and not line.endswith(" rows = 1;")] == []
    columns = [line for line in fields if line.startswith("  bytes ")]
    assert [line for line in columns if not re.search(r"planes|16 bytes|16 random|zstd", line)] == []
