"""Columns of one interval -> one Batch message.

Invariants: a text appears once in the batch's dictionary; a connection's end appears once in its links; every index
points into its table; no loop over rows, only over distinct texts, links and processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.identity.processes import Process
from proto import sonde_pb2 as pb
from sonde import batches, sketches
from sonde.ids import mix64
from sonde.sketches import Buckets

Array = npt.NDArray[Any]
Columns = dict[str, Array]

#: Columns that say which end of which connection a row speaks of.
LINK_COLUMNS = (
    "connection", "connection_id", "role", "pid", "comm", "local_ip", "local_port", "remote_ip", "remote_port",
)  # fmt: skip
_TEXTS = {
    "requests": ("operation", "resource", "statement", "status_code"),
    "in_flight": ("operation", "resource", "statement"),
    "unsampled": ("operation", "resource"),
}
_OF_STATEMENT = ("statement_id", "protocol", "statement")
_BLOCKS = ("requests", "in_flight", "connections")


@dataclass
class Unsampled:
    """Sums of g groups of requests: LINK_COLUMNS and the section's columns without `link`, shape (g,); `statement`."""

    columns: Columns
    sketches: dict[str, Buckets]


@dataclass
class Interval:
    """What one batch will hold. Times are Unix us, durations units of the wire (see proto/sonde.proto).

    `requests`, `in_flight` and `connections` hold LINK_COLUMNS beside the section's own columns (without `link`);
    texts are indices into the agent's table of strings. Where `requests` have a column `shown`, that is the statement
    which the row carries, and `statement` the one whose text may have to be sent.
    """

    requests: list[Columns] = field(default_factory=list)
    in_flight: list[Columns] = field(default_factory=list)
    connections: list[Columns] = field(default_factory=list)
    endpoints: list[tuple[bytes, int, Process, int]] = field(default_factory=list)
    agent_stats: list[dict[str, Any]] = field(default_factory=list)
    unsampled: Unsampled | None = None


class _Dictionary:
    """The texts of one batch."""

    def __init__(self) -> None:
        self.texts = [""]
        self._index = {"": 0}

    def add(self, text: str) -> int:
        index = self._index.get(text)
        if index is None:
            index = self._index[text] = len(self.texts)
            self.texts.append(text)
        return index

    def remap(self, indices: Array, text_of: Callable[[int], str]) -> npt.NDArray[np.uint64]:
        distinct, inverse = np.unique(indices, return_inverse=True)
        return np.array([self.add(text_of(int(index))) for index in distinct], dtype=np.uint64)[inverse]


def concatenate(blocks: Sequence[Columns]) -> Columns:
    """One block of all rows."""
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}


class Encoder:
    """Makes batches; remembers which statements' texts were sent."""

    def __init__(
        self, text_of: Callable[[int], str], process_of: Callable[[int, str], Process], remembered: int = 50_000
    ) -> None:
        """`text_of` resolves an index of the agent's strings, `process_of` a pid and its thread's name."""
        self._text_of, self._process_of = text_of, process_of
        self._sent: dict[int, None] = {}
        self._remembered = remembered

    def forget_statements(self) -> None:
        """Send every text once more: the batch that held it may have been dropped."""
        self._sent.clear()

    def encode(self, interval: Interval, host: pb.Host, statements: int = 1 << 30) -> pb.Batch:
        """The batch of `interval`, with the texts of at most so many new statements."""
        batch = pb.Batch(host=host)
        dictionary = _Dictionary()
        sections = {name: concatenate(getattr(interval, name)) for name in _BLOCKS}
        filled = {name: columns for name, columns in sections.items() if columns}
        if interval.unsampled is not None:
            filled["unsampled"] = interval.unsampled.columns
            for name, buckets in interval.unsampled.sketches.items():
                sketches.fill(getattr(batch.unsampled, f"{name}_sketch"), buckets)
        self._links(batch, dictionary, filled)
        self._statements(batch, dictionary, filled, statements)
        for name, columns in filled.items():
            if "shown" in columns:
                columns["statement"] = columns["shown"]
            for text in _TEXTS.get(name, ()):
                columns[text] = dictionary.remap(columns[text], self._text_of)
            batches.fill(name, getattr(batch, name), {column: columns[column] for column in batches.SECTIONS[name]})
        self._endpoints(batch, dictionary, interval)
        self._stats(batch, dictionary, interval)
        batch.strings.extend(dictionary.texts)
        return batch

    def _links(self, batch: pb.Batch, dictionary: _Dictionary, sections: Mapping[str, Columns]) -> None:
        if not sections:
            return
        ends = concatenate([{name: block[name] for name in LINK_COLUMNS} for block in sections.values()])
        key = mix64(ends["connection"].astype(np.uint64)) ^ ends["pid"].astype(np.uint64)
        _, first, link = np.unique(key, return_index=True, return_inverse=True)
        ends = {name: column[first] for name, column in ends.items()}
        pairs = list(zip(ends["pid"].tolist(), ends["comm"].tolist(), strict=True))
        names = {pair: self._process_of(pair[0], pair[1].decode(errors="replace")) for pair in set(pairs)}
        columns = {name: ends[name] for name in LINK_COLUMNS if name not in ("connection", "comm")}
        columns["service"] = np.array([dictionary.add(names[pair].service) for pair in pairs], dtype=np.uint64)
        columns["comm"] = np.array([dictionary.add(names[pair].comm) for pair in pairs], dtype=np.uint64)
        batches.fill("links", batch.links, columns)
        start = 0
        for block in sections.values():
            rows = len(block["connection"])
            block["link"] = link[start : start + rows]
            start += rows

    def _statements(self, batch: pb.Batch, dictionary: _Dictionary, sections: Mapping[str, Columns], most: int) -> None:
        parts = [sections[name] for name in ("requests", "unsampled") if name in sections]
        if not parts:
            return
        told = {name: np.concatenate([part[name] for part in parts]) for name in _OF_STATEMENT}
        ids, first = np.unique(told["statement_id"], return_index=True)
        fresh = [
            (identity, row) for identity, row in zip(ids.tolist(), first.tolist(), strict=True)
            if identity and identity not in self._sent
        ][:most]  # fmt: skip
        if not fresh:
            return
        if len(self._sent) + len(fresh) > self._remembered:
            self._sent.clear()
        self._sent.update(dict.fromkeys(identity for identity, _ in fresh))
        columns = {name: column[[row for _, row in fresh]] for name, column in told.items()}
        columns["text"] = dictionary.remap(columns.pop("statement"), self._text_of)
        batches.fill("statements", batch.statements, columns)

    @staticmethod
    def _endpoints(batch: pb.Batch, dictionary: _Dictionary, interval: Interval) -> None:
        if not interval.endpoints:
            return
        addresses = b"".join(address for address, *_ in interval.endpoints)
        batches.fill(
            "endpoints",
            batch.endpoints,
            {
                "address": np.frombuffer(addresses, dtype=np.uint8).reshape(-1, 16),
                "port": np.array([port for _, port, _, _ in interval.endpoints]),
                "service": np.array([dictionary.add(process.service) for _, _, process, _ in interval.endpoints]),
                "pid": np.array([pid for *_, pid in interval.endpoints]),
            },
        )

    @staticmethod
    def _stats(batch: pb.Batch, dictionary: _Dictionary, interval: Interval) -> None:
        rows = interval.agent_stats
        if not rows:
            return
        columns = {
            name: np.array([int(row.get(name, 0)) for row in rows], dtype=np.uint64)
            for name in batches.SECTIONS["agent_stats"]
            if name != "probe"
        }
        columns["probe"] = np.array([dictionary.add(row["probe"]) for row in rows], dtype=np.uint64)
        batches.fill("agent_stats", batch.agent_stats, columns)
        for row in rows:
            batch.agent_stats.details.append(pb.StatDetails(counts=row.get("details", {})))
