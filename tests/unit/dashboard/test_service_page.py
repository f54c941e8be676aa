"""What the page of a service says about requests without a row."""

from __future__ import annotations

from dashboard.pages.service import without_rows


def test_requests_without_a_row_are_told() -> None:
    (text,) = without_rows({"unsampled_requests": 750, "total": 1_000})
    assert text.startswith("75")
    assert without_rows({"unsampled_requests": 0, "total": 1_000}) == []
