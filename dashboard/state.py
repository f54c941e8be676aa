"""What a page shows, as the query string of its URL: a link that is shared shows the same.

Invariants: `parse(state.search())` equals `state` for every state; whatever the query string, `parse`
returns a state, and says in `problem` what it could not read. Times are UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, urlencode

#: name -> seconds; the first is the default.
RANGES = {"15m": 900, "5m": 300, "1h": 3600, "6h": 21_600, "24h": 86_400}
CUSTOM = "custom"
ROLES = ("server", "client")
FORM = "%Y-%m-%dT%H:%M:%S"
#: Filters that stand in the URL as they are, in the order of the URL.
FILTERS = ("service", "host", "protocol", "operation", "status")

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(?:Z| ?UTC)?")


@dataclass(frozen=True)
class State:
    """Range, role and filters of a page; empty filters let everything through."""

    range: str = "15m"
    start: datetime | None = None
    end: datetime | None = None
    live: bool = True
    role: str = "server"
    service: str = ""
    host: str = ""
    protocol: str = ""
    operation: str = ""
    status: str = ""
    problem: str = ""

    @property
    def custom(self) -> bool:
        """Whether the range stands still between two times."""
        return self.range == CUSTOM and self.start is not None and self.end is not None

    def search(self) -> str:
        """The query string, from its "?"; empty for the default state."""
        pairs: list[tuple[str, str]] = []
        if self.custom and self.start and self.end:
            pairs += [("from", self.start.strftime(FORM)), ("to", self.end.strftime(FORM))]
        elif self.range != State.range and self.range in RANGES:
            pairs.append(("range", self.range))
        if not self.live:
            pairs.append(("live", "0"))
        if self.role != State.role:
            pairs.append(("role", self.role))
        pairs += [(name, text) for name in FILTERS if (text := getattr(self, name))]
        return "?" + urlencode(pairs) if pairs else ""

    def range_only(self) -> State:
        """The state that a link to another page carries on: the time, without filters."""
        return State(range=self.range, start=self.start, end=self.end, live=self.live)

    def with_filters(self, filters: dict[str, str]) -> State:
        """The state with some of FILTERS set anew."""
        unknown = set(filters) - set(FILTERS)
        assert not unknown, unknown
        changes: dict[str, Any] = dict(filters)
        return replace(self, **changes)


def read_time(text: str) -> datetime | None:
    """`2026-11-20T22:41:00`, seconds and a trailing Z or UTC optional, as UTC; None when it is not a time."""
    match = _DATE.fullmatch(text.strip())
    if not match:
        return None
    try:
        return datetime.strptime(f"{match[1]}T{match[2]}{match[3] or ':00'}", FORM).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def parse(search: str | None) -> State:
    """The state of a query string with or without its "?"; what cannot be read falls back and is named."""
    given = dict(parse_qsl((search or "").lstrip("?")))
    problems = []
    state = State(live=given.get("live", "1") != "0").with_filters({name: given.get(name, "") for name in FILTERS})
    if (role := given.get("role", State.role)) in ROLES:
        state = replace(state, role=role)
    else:
        problems.append(f"role {role!r} is not one of {', '.join(ROLES)}")
    if "from" in given or "to" in given:
        start, end = read_time(given.get("from", "")), read_time(given.get("to", ""))
        if start and end and start < end:
            return replace(state, range=CUSTOM, start=start, end=end, problem="; ".join(problems))
        problems.append(
            "from and to must be UTC times such as 2026-11-20T22:41:00, from before to; the last 15 minutes are shown"
        )
    elif (chosen := given.get("range", State.range)) in RANGES:
        state = replace(state, range=chosen)
    else:
        problems.append(f"range {chosen!r} is not one of {', '.join(RANGES)}; the last 15 minutes are shown")
    return replace(state, problem="; ".join(problems))
