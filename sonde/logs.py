"""One way to log for every program: one line an event on standard error, as key=value or as JSON.

    _log = logs.get(__name__)
    _log.warning("batch refused", agent=name, code="TOO_LARGE")

    2026-11-21T10:00:00.123456Z WARNING aggregator.ingest.service batch refused agent=web-1 code=TOO_LARGE
    {"time": "2026-11-21T10:00:00.123456Z", "level": "warning", "logger": "...", "event": "batch refused", ...}

The standard library's loggers, and so the libraries', come out in the same form. Invariants: an event is one line,
whatever its values hold; a value whose name says that it is secret, or a password in a URL, is never written; an event
that repeats itself is cut after `log.repeats` lines in ten seconds, and the next line says how many were left out.
Where nobody called `start` (tests), everything goes to the standard library and nothing is configured.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from pydantic import Field
from structlog.types import Processor

from sonde.config import URL_PASSWORD, Settings

_MASK = "********"
_SECRET = re.compile(r"(?i)(^|_)(password|passphrase|token|secret|private_key|authorization|cookie)$")
_PER_S = 10.0
_EVENTS = 1_000  # distinct ones that are counted at once

Event = MutableMapping[str, Any]


class Log(Settings):
    """Lines on standard error."""

    format: Literal["text", "json"] = Field("text", description="text: key=value; json: one object a line")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is written")
    repeats: int = Field(20, ge=1, le=1_000_000, description="lines of one event in ten seconds; the rest is counted")


def get(name: str) -> Any:
    """A logger whose methods (debug, info, warning, error, exception) take the event and its values by name."""
    return structlog.stdlib.get_logger(name)


class Repeats(logging.Filter):
    """Lets `limit` records of one logger and event through in ten seconds, and notes on the next how many it cut."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], list[float]] = {}  # since when, lines, cut

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        event = record.msg["event"] if isinstance(record.msg, dict) else record.msg
        key, now = (record.name, str(event)), self._clock()
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or now - seen[0] >= _PER_S:
                cut = int(seen[2]) if seen else 0
                if len(self._seen) >= _EVENTS:
                    self._seen.clear()
                self._seen[key] = [now, 1, 0]
                record.suppressed = cut
                return True
            seen[1] += 1
            if seen[1] > self._limit:
                seen[2] += 1
                return False
        return True


def _add_suppressed(_logger: Any, _name: str, event: Event) -> Event:
    record = event.get("_record")
    cut = getattr(record, "suppressed", 0)
    if cut:
        event["suppressed"] = cut
    return event


def _mask(_logger: Any, _name: str, event: Event) -> Event:
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = _MASK
        elif isinstance(value, str):
            event[key] = URL_PASSWORD.sub(rf"\1{_MASK}@", value)
    return event


_KEYS = structlog.processors.LogfmtRenderer(bool_as_flag=False)


def _as_text(logger: Any, name: str, event: Event) -> str:
    at, level, of, what = (event.pop(key, "") for key in ("time", "level", "logger", "event"))
    line = f"{at} {str(level).upper()} {of} {_one_line(str(what))}"
    values = {re.sub(r"\s", "_", str(key)): _plain(value) for key, value in event.items()}
    return f"{line} {_KEYS(logger, name, values)}" if values else line


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else _one_line(str(value))


#: Shared by our loggers and the standard library's; the record's own fields come first.
_COMMON: list[Processor] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
]

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_COMMON,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def formatter(form: str) -> logging.Formatter:
    """What makes a line of a record; `form` is "text" or "json"."""
    last: list[Processor] = [structlog.processors.JSONRenderer(default=str)] if form == "json" else [_as_text]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_COMMON, structlog.stdlib.ExtraAdder()],
        processors=[
            _add_suppressed,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _mask,
            *last,
        ],
    )


def start(settings: Log, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
    """Write all events from `settings.level` on to `stream` (standard error), also those that end a thread."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(settings.format))
    handler.addFilter(Repeats(settings.repeats, clock))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    threading.excepthook = _thread_died


def _thread_died(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is SystemExit:
        return
    name = what.thread.name if what.thread else ""
    information = (what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback)
    get(__name__).error("a thread ended with an error", thread=name, exc_info=information)
