"""What `sonde sql` does: one query over ClickHouse's HTTP interface, printed as a table, JSON or CSV.

The standard library is enough, so that the command starts in a blink. A query with a FORMAT clause of its own is
printed as it comes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from sonde.errors import SondeError, UsageError

_FORMATS = {"table": "JSONCompact", "json": "JSONEachRow", "csv": "CSVWithNames"}
_TIMEOUT_S = 120
_WIDEST_COLUMN = 100


def run(query: str, form: str, url: str, database: str, token_file: str | None = None) -> str:
    """The result of `query` as text.

    Raises:
        SondeError: the port cannot be reached or refused the query.
    """
    parameters = {
        "database": database,
        "default_format": _FORMATS[form],
        "output_format_json_array_of_rows": "1",
        "output_format_json_quote_64bit_integers": "0",
    }
    request = Request(f"{url.rstrip('/')}/?{urlencode(parameters)}", data=query.encode(), method="POST")
    if not request.full_url.startswith(("http://", "https://")):
        raise UsageError(f"{url} is not an address; write http://host:8123")
    if token_file:
        try:
            request.add_header("X-ClickHouse-Key", Path(token_file).read_text(encoding="utf-8").strip())
        except OSError as error:
            raise UsageError(f"{token_file}: {error.strerror}") from None
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            body = answer.read().decode("utf-8", "replace")
            used = answer.headers.get("X-ClickHouse-Format", "")
    except HTTPError as error:
        with error:
            text = " ".join(error.read(4096).decode("utf-8", "replace").split())
        raise SondeError(f"query refused: {text}") from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise SondeError(f"{url} is not reachable ({reason}); is `sonde aggregator` running?") from None
    return table(json.loads(body)) if form == "table" and used == "JSONCompact" and body else body


def table(result: dict[str, Any]) -> str:
    """A JSONCompact result as an aligned table: names, a line, rows; numbers to the right."""
    names = [column["name"] for column in result["meta"]]
    right = ["Int" in column["type"] or "Float" in column["type"] for column in result["meta"]]
    right = [one and "(" not in column["type"].replace("Nullable(", "").replace("LowCardinality(", "")
             for one, column in zip(right, result["meta"], strict=True)]  # fmt: skip
    cells = [[_cell(item) for item in row] for row in result["data"]]
    widths = [max(len(name), *(len(row[i]) for row in cells)) if cells else len(name) for i, name in enumerate(names)]
    lines = [_line(names, widths, right), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths, right) for row in cells]
    count = len(cells)
    return "\n".join(lines) + f"\n({count} row{'' if count == 1 else 's'})\n"


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    aligned = zip(cells, widths, right, strict=True)
    return "  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in aligned).rstrip()


def _cell(item: Any) -> str:
    if item is None:
        return "-"
    if isinstance(item, float):
        text = f"{item:.6g}" if abs(item) < 1e6 else f"{item:.0f}"
    elif isinstance(item, str):
        text = item.removeprefix("::ffff:") if item.count(".") == 3 else item
    else:
        text = json.dumps(item, ensure_ascii=False)
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= _WIDEST_COLUMN else text[: _WIDEST_COLUMN - 3] + "..."
