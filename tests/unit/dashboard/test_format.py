"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from dashboard.components import format as form


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "–"), (float("nan"), "–"), (0, "0"), (1, "1 ns"), (999, "999 ns"), (999.6, "1 µs"), (1234, "1.23 µs"),
        (12_345, "12.3 µs"), (123_456, "123 µs"), (1e6, "1 ms"), (999_999, "1 ms"), (2.5e9, "2.5 s"), (99e9, "99 s"),
        (100e9, "1 min 40 s"), (3600e9, "1 h"),
    ],
)  # fmt: skip
def test_duration(ns, text):
    assert form.duration(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0.4, "now"), (-3, "now"), (12.9, "12 s"), (60, "1 min"), (185, "3 min 5 s"), (7620, "2 h 7 min"),
        (273_600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_age(seconds, text):
    assert form.age(seconds) == text


def test_rates_and_counts_mark_estimates_and_say_nothing_for_nothing():
    assert form.rate(0.0123) == "0.0123 /s"
    assert form.rate(12_345.6, estimated=True) == "~12.3 k /s"
    assert form.rate(None) == form.count(None) == form.size(None) == "–"
    assert form.count(99_999) == "99,999"
    assert form.count(1_234_567, estimated=True) == "~1.23 M"
    assert form.size(1536) == "1.5 KiB"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0 %"), (1, 10**6, "< 0.01 %"), (1, 3, "33.3 %"), (10, 10, "100 %"), (999_999, 10**6, "> 99.9 %"),
        (1, 0, "–"), (None, 5, "–"),
    ],
)  # fmt: skip
def test_percent_never_hides_what_is_there(part, whole, text):
    assert form.percent(part, whole) == text


def test_clock_names_its_zone():
    assert form.clock(datetime(2026, 11, 20, 22, 41, 3, tzinfo=timezone.utc)) == "2026-11-20 22:41:03 UTC"
    assert form.clock(1.5, micro=True) == "1970-01-01 00:00:01.500000 UTC"
    assert form.clock(0) == "–"
