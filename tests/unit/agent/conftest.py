"""A folder for spools: in memory where that exists, since every append waits for the disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sonde-spool-", dir=RAM) as made:
        yield Path(made)


@pytest.fixture
def path(folder: Path) -> Path:
    """Of a spool's file."""
    return folder / "spool.db"
