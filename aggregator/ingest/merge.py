"""Batches of many agents as one set of columns, with one dictionary of texts.

Invariants: row i of a merged section is row i of the parts' sections one after the other; every text of every part, the
names of the other ends and of the hosts are in one dictionary without repetition; a `link` is an index into the merged
links, a `part` one into the parts. No step loops over rows, or in Python over texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aggregator.ingest.batch import Part
from aggregator.ingest.content import NAMES, TEXTS, Columns
from sonde import batches
from sonde.sketches import Buckets

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Merged:
    """Merged batches.

    `strings` (t,) is the dictionary; `sections` are those of a Content, text columns as codes into `strings` (int32),
    `link` int64, and `part` int32 in every section; `host` (parts,) and `remote_host`, `remote_service` (links,) are
    codes into `strings`.
    """

    parts: Sequence[Part]
    strings: pa.Array
    sections: dict[str, Columns]
    host: Codes
    remote_host: Codes
    remote_service: Codes
    #: As in a Content.
    sketches: dict[str, Buckets]

    def rows(self, section: str) -> int:
        """Rows of a section."""
        return len(self.sections[section]["part"])

    @cached_property
    def seen_us(self) -> npt.NDArray[np.uint64]:
        """When each part was sealed, Unix us, shape (parts,)."""
        return np.array([part.content.host.seen_us for part in self.parts], dtype=np.uint64)

    @cached_property
    def received_us(self) -> npt.NDArray[np.uint64]:
        """When each part arrived, Unix us, shape (parts,)."""
        return np.array([part.received_us for part in self.parts], dtype=np.uint64)

    @cached_property
    def replay(self) -> npt.NDArray[np.uint8]:
        """Whether each part is of a recording, shape (parts,)."""
        return np.array([part.content.host.replay for part in self.parts], dtype=np.uint8)


def merge(parts: Sequence[Part]) -> Merged:
    """All rows of `parts`, at least one."""
    texts = [pa.array(part.content.strings, pa.string()) for part in parts]
    names = [pa.array(part.ends.names, pa.string()) for part in parts]
    hosts = pa.array([part.content.host.name for part in parts], pa.string())
    encoded = pa.concat_arrays([*texts, *names, hosts]).dictionary_encode()
    code: Codes = encoded.indices.to_numpy()
    of_texts = _offsets(texts)
    of_names = of_texts[-1] + _offsets(names)
    links = [part.content.rows("links") for part in parts]
    first_link = _offsets([range(count) for count in links])
    sections = {}
    for name in batches.SECTIONS:
        columns = [part.content.sections[name] for part in parts]
        rows = [part.content.rows(name) for part in parts]
        sections[name] = _section(columns, rows, code, of_texts, first_link)
    return Merged(
        parts,
        encoded.dictionary,
        sections,
        code[of_names[-1] :],
        code[np.concatenate([part.ends.remote_host for part in parts]) + np.repeat(of_names[:-1], links)],
        code[np.concatenate([part.ends.remote_service for part in parts]) + np.repeat(of_names[:-1], links)],
        {name: Buckets.concatenate([part.content.sketches[name] for part in parts]) for name in batches.SKETCHES},
    )


def _offsets(parts: Sequence[pa.Array | range]) -> npt.NDArray[np.int64]:
    """Where each part begins in all of them one after the other, and where the last ends, shape (parts + 1,)."""
    return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)


def _section(
    columns: Sequence[Columns],
    rows: Sequence[int],
    code: Codes,
    of_texts: npt.NDArray[np.int64],
    first_link: npt.NDArray[np.int64],
) -> Columns:
    part = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    merged: Columns = {}
    for name in columns[0]:
        column = np.concatenate([one[name] for one in columns])
        if name in NAMES or name in TEXTS:
            column = code[column.astype(np.int64) + of_texts[part]]
        elif name == "link":
            column = column.astype(np.int64) + first_link[part]
        merged[name] = column
    merged["part"] = part
    return merged
