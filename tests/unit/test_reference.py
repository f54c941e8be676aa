"""docs/configuration.md is what the programs say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonde import reference

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_fresh() -> None:
    assert _PAGE.read_text(encoding="utf-8") == reference.page(), (
        "run `.venv/bin/python -m sonde.reference > docs/configuration.md`"
    )


@pytest.mark.parametrize("word", ["spool.max_bytes", "scope.netns", "storage.retention_days.requests", "sql_url"])
def test_the_page_names_nested_settings(word: str) -> None:
    assert f"| `{word}` |" in reference.page()
