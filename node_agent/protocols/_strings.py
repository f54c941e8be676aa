"""Bounded memory: the table of texts, and the caches that keep a known request from being parsed again."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Strings:
    """Texts by index; 0 is "" and 1 is `~other`, which stands for every new text once `limit` is reached.

    Indices never change, so arrays of them stay valid. `overflowed` counts the texts that became `~other`.
    """

    EMPTY, OTHER = 0, 1

    def __init__(self, limit: int = 50_000) -> None:
        if limit < 2:
            raise ValueError("limit must be at least 2")
        self.limit = limit
        self.overflowed = 0
        self.texts: list[str] = ["", "~other"]
        self._indices = {"": self.EMPTY, "~other": self.OTHER}

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> str:
        return self.texts[index]

    def add(self, text: str) -> int:
        """Index of `text`, new or known; OTHER when the table is full."""
        index = self._indices.get(text)
        if index is None:
            if len(self.texts) >= self.limit:
                self.overflowed += 1
                return self.OTHER
            index = self._indices[text] = len(self.texts)
            self.texts.append(text)
        return index


class Cache(Generic[Key, Item]):
    """A dictionary of at most `limit` items; when full, the older half goes, and `evicted` counts it.

    Old is by insertion: a mask in use comes back with one parse, so no lookup pays for keeping an order.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self.limit = max(2, limit)
        self.evicted = 0
        self._items: dict[Key, Item] = {}

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Key) -> Item | None:
        """The item, or None."""
        return self._items.get(key)

    def put(self, key: Key, item: Item) -> None:
        """Keep `item`, which makes room first where the cache is full."""
        if len(self._items) >= self.limit:
            old = list(islice(self._items, self.limit // 2))
            for gone in old:
                del self._items[gone]
            self.evicted += len(old)
        self._items[key] = item
