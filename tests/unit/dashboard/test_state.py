"""The URL is the state; the window fits the range."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.asking import asked, service_link
from dashboard.pages.registry import PAGES, page_of
from dashboard.shell import apply
from dashboard.state import CUSTOM, FILTERS, RANGES, ROLES, State, parse
from dashboard.window import MAX_STEPS, window

NOW = datetime(2026, 11, 20, 22, 41, 7, tzinfo=timezone.utc)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda time: time.replace(microsecond=0, tzinfo=timezone.utc)
)


@given(
    st.sampled_from(list(RANGES)), st.booleans(), st.sampled_from(ROLES),
    st.fixed_dictionaries({name: st.text(max_size=20) for name in FILTERS}),
    st.one_of(st.none(), st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] < pair[1])),
)  # fmt: skip
def test_every_state_comes_back_from_its_url(chosen, live, role, filters, fixed):
    state = State(range=chosen, live=live, role=role).with_filters(filters)
    if fixed:
        state = State(CUSTOM, *fixed, live=live, role=role).with_filters(filters)
    assert parse(state.search()) == state


@given(st.text())
def test_any_query_string_gives_a_state(search):
    asked(search, "/", NOW.timestamp())


@pytest.mark.parametrize(
    ("search", "named"),
    [("?range=banana", "banana"), ("?role=x", "role"), ("?from=1&to=2", "UTC times"),
     ("?from=2026-01-02T00:00:00&to=2026-01-01T00:00:00", "from before to")],
)  # fmt: skip
def test_what_cannot_be_read_is_named(search, named):
    state = parse(search)
    assert named in state.problem
    assert state.range == "15m"


@pytest.mark.parametrize(
    ("chosen", "rollup", "step"),
    [("5m", "10s", 10), ("15m", "10s", 10), ("1h", "10s", 10), ("6h", "1m", 60), ("24h", "1m", 300)]
)  # fmt: skip
def test_roll_up_follows_the_range(chosen, rollup, step):
    found = window(State(range=chosen), NOW)
    assert (found.rollup, found.step) == (rollup, step)
    assert found.seconds == RANGES[chosen]
    assert found.end % step == found.start % step == 0
    assert abs(found.end - NOW.timestamp()) <= step


@given(st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] < pair[1]))
def test_no_range_has_too_many_steps(fixed):
    found = window(State(CUSTOM, *fixed), NOW)
    assert len(found.steps) <= MAX_STEPS + 2
    assert found.start <= fixed[0].timestamp() < fixed[1].timestamp() <= found.end


def test_long_ranges_read_the_hourly_roll_up():
    fixed = State(CUSTOM, datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 15, tzinfo=timezone.utc))
    assert window(fixed, NOW).rollup == "1h"


@given(st.text(min_size=1, max_size=20))
def test_any_service_name_has_a_page(name):
    path, _, search = service_link(name, State()).partition("?")
    assert page_of(path) is PAGES["service"]
    assert asked(search, path, 0).state.service == name


def test_paths_lead_to_their_pages():
    assert page_of("/") is PAGES["overview"]
    assert page_of("/slow") is page_of("/slow/") is PAGES["slow"]
    assert page_of("/inflight") is PAGES["inflight"]
    assert page_of("/service/") is page_of("/service") is page_of("/slower") is None


def test_controls_change_the_state_in_words_when_wrong():
    fixed, problem = apply(State(range="1h"), {"range": "custom"}, "range")
    assert (fixed.custom, problem) == (True, "")
    assert apply(fixed, {"to": "1999-01-01 00:00"}, "to") == (fixed, "from must be before to")
    assert "not a UTC time" in apply(fixed, {"from": "soon"}, "from")[1]
    assert apply(fixed, {"range": "5m"}, "range")[0] == State(range="5m")
    assert apply(State(host="a"), {"host": None}, "host")[0] == State()
