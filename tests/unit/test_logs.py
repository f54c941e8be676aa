"""One line an event, in both forms; no secrets; repetition is cut and counted."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from sonde import logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook = hook


def _json(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_text_is_time_level_logger_event_and_values(lines: io.StringIO) -> None:
    logs.start(logs.Log(), lines)
    logs.get("aggregator.test").warning("batch refused", agent="web 1", sequence=7, slow=True, nothing=None)
    at, _, rest = lines.getvalue().partition(" ")
    assert at.endswith("Z")
    assert rest == 'WARNING aggregator.test batch refused agent="web 1" sequence=7 slow=true nothing=\n'


def test_json_is_one_object_a_line(lines: io.StringIO) -> None:
    logs.start(logs.Log(format="json"), lines)
    logs.get("one").info("started", port=7443)
    logging.getLogger("two").info("took %d of %s", 3, "all", extra={"agent": "web-1"})
    first, second = _json(lines)
    assert {key: first[key] for key in ("level", "logger", "event", "port")} == {
        "level": "info", "logger": "one", "event": "started", "port": 7443,
    }  # fmt: skip
    assert second["event"] == "took 3 of all"
    assert second["agent"] == "web-1"
    assert set(first) == {"time", "level", "logger", "event", "port"}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("ours", [True, False])
def test_an_event_is_one_line_whatever_it_holds(lines: io.StringIO, form: str, ours: bool) -> None:
    logs.start(logs.Log.model_validate({"format": form}), lines)
    nasty = "a\nb\r\x1b[31m\u2028 c"
    try:
        raise ValueError(nasty)
    except ValueError:
        if ours:
            logs.get("x").exception(nasty, value=nasty, **{"key\nwith": nasty})
        else:
            logging.getLogger("x").exception("%s", nasty)
    text = lines.getvalue()
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert "ValueError" in text


def test_secrets_are_masked_in_both_worlds(lines: io.StringIO) -> None:
    logs.start(logs.Log(format="json"), lines)
    logs.get("x").info(
        "store open", url="clickhouse://sonde:hunter2@db:8443/sonde", token="hunter2", sql_password="hunter2"
    )
    logging.getLogger("x").info("cannot reach clickhouse://sonde:hunter2@db", extra={"secret": "hunter2"})
    assert "hunter2" not in lines.getvalue()
    first, _ = _json(lines)
    assert first["url"] == "clickhouse://sonde:********@db:8443/sonde"
    assert first["token"] == "********"


def test_a_level_holds_for_both_worlds(lines: io.StringIO) -> None:
    logs.start(logs.Log(level="warning"), lines)
    logs.get("x").info("no")
    logging.getLogger("y").info("no")
    logs.get("x").warning("yes")
    logging.getLogger("y").warning("yes")
    assert lines.getvalue().count("yes") == 2
    assert "no" not in lines.getvalue().replace("nothing", "")


def test_repetition_is_cut_and_counted() -> None:
    now = [0.0]
    cut = logs.Repeats(3, lambda: now[0])

    def record(event: str) -> logging.LogRecord:
        return logging.LogRecord("x", logging.INFO, "", 0, {"event": event}, (), None)  # type: ignore[arg-type]

    assert [cut.filter(record("same")) for _ in range(5)] == [True, True, True, False, False]
    assert cut.filter(record("other"))
    now[0] = 10.0
    late = record("same")
    assert cut.filter(late)
    assert late.suppressed == 2  # type: ignore[attr-defined]
    again = record("same")
    assert cut.filter(again)
    assert not hasattr(again, "suppressed")


def test_the_count_of_what_was_cut_is_in_the_line(lines: io.StringIO) -> None:
    now = [0.0]
    logs.start(logs.Log(repeats=1), lines, lambda: now[0])
    log = logs.get("x")
    for _ in range(4):
        log.info("same")
    now[0] = 60.0
    log.info("same")
    assert [line.partition(" INFO ")[2] for line in lines.getvalue().splitlines()] == ["x same", "x same suppressed=3"]


def test_the_end_of_a_thread_is_an_event(lines: io.StringIO) -> None:
    logs.start(logs.Log(format="json"), lines)
    thread = threading.Thread(target=lambda: [][1], name="insert-0")
    thread.start()
    thread.join()
    (line,) = _json(lines)
    assert line["thread"] == "insert-0"
    assert "IndexError" in str(line["exception"])
