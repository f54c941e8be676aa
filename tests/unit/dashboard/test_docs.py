"""docs/dashboard.md names every page and every setting."""

from __future__ import annotations

from pathlib import Path

from dashboard.config import DashboardSettings
from dashboard.pages.registry import PAGES

TEXT = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text()


def test_every_setting_is_documented():
    assert [name for name in DashboardSettings.model_fields if f"`{name}`" not in TEXT] == []


def test_every_page_is_documented_and_registered():
    assert list(PAGES) == sorted(PAGES)
    assert [page.PATH for page in PAGES.values() if f"`{page.PATH}" not in TEXT] == []
    files = {file.stem for file in (Path(__file__).parents[3] / "dashboard" / "pages").glob("*.py")}
    assert files - {"__init__", "registry"} == set(PAGES)
