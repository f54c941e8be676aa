"""What a callback asks: the state of the URL, the window of time, and the parameters that queries bind."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from dashboard.components.format import age
from dashboard.source import Row, Source
from dashboard.state import State, parse
from dashboard.window import Window, utc, window

SERVICE_PATH = "/service/"


@dataclass(frozen=True)
class Asked:
    """One refresh of one page."""

    state: State
    window: Window
    #: Unix seconds of the refresh.
    now: float

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that a query may bind."""
        state = self.state
        return self.window.parameters() | {
            "role": state.role,
            "service": state.service,
            "host": state.host,
            "protocol": state.protocol,
            "operation": state.operation,
            "status": state.status,
        }

    @property
    def parameters_till_now(self) -> dict[str, Any]:
        """The same for rows that are not cut into steps: a live range then ends now, not with its last whole step."""
        end = max(self.window.end, int(self.now) + 1) if self.window.live else self.window.end
        return self.parameters | {"to_s": end}

    @property
    def revision(self) -> str:
        """Changes when charts should forget their zoom."""
        return self.state.search() + self.state.service


def asked(search: str | None, pathname: str | None, now: float | None = None) -> Asked:
    """What the URL asks for at `now` (Unix seconds; the clock's by default)."""
    now = time.time() if now is None else now
    state = parse(search)
    if service := service_of(pathname):
        state = replace(state, service=service)
    return Asked(state, window(state, utc(now)), now)


def service_of(pathname: str | None) -> str:
    """The service of `/service/<name>`; "" on other pages."""
    if pathname and pathname.startswith(SERVICE_PATH):
        return unquote(pathname[len(SERVICE_PATH) :])
    return ""


def service_link(service: str, state: State) -> str:
    """The path and query of a service's page at the range of `state`."""
    return SERVICE_PATH + quote(service, safe="") + state.search()


def observed_from(source: Source, asking: Asked) -> float:
    """Unix seconds of the first total of the range, of whatever service; the range's end when there is none."""
    (extent,) = source.rows("extent", **asking.parameters)
    return float(max(asking.window.start, int(extent["first_s"])) if extent["totals"] else asking.window.end)


def seconds_observed(source: Source, asking: Asked) -> float:
    """Seconds of the range since its first total: what rates are divided by, at least ten.

    A store that began a minute ago shows its rate over that minute, not over the whole range.
    """
    end = min(asking.window.end, asking.now) if asking.window.live else asking.window.end
    return float(max(10.0, end - observed_from(source, asking)))


def why_empty(source: Source, asking: Asked) -> str:
    """What to do when a range has nothing."""
    hosts: list[Row] = source.rows("hosts")
    if not hosts:
        return (
            "No agent has reported yet. Start one on a host that should be seen (`sonde agent`), "
            "or `sonde doctor` there to learn what keeps it from running."
        )
    seen = ", ".join(f"{row['host']} {age(row['age_s'])} ago" for row in sorted(hosts, key=_by_age)[:5])
    more = f" and {len(hosts) - 5} more" if len(hosts) > 5 else ""
    filters = [name for name in ("host", "protocol", "operation", "status") if getattr(asking.state, name)]
    hint = f"drop the filter on {' and '.join(filters)}, or choose" if filters else "choose"
    return f"No data in this range: {hint} a longer or later one. Agents last seen: {seen}{more}."


def _by_age(row: Row) -> float:
    return float(row["age_s"])
