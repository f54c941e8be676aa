"""What `sonde sql` does: one query over ClickHouse's HTTP interface, printed as a table, JSON or CSV.

The standard library is enough, so that the command starts in a blink. A query with a FORMAT clause of its own is
printed as it comes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from sonde.errors import SondeError, UsageError

_FORMATS = {"table": "JSONCompact", "json": "JSONEachRow", "csv": "CSVWithNames"}
_TIMEOUT_S = 120
_WIDEST_COLUMN = 100


@dataclass(frozen=True)
class SqlPort:
    """ClickHouse's HTTP interface at `url`: the aggregator's own, or a server's."""

    url: str
    database: str = "sonde"
    token_file: str | None = None
    user: str | None = None

    def ask(self, query: str, form: str, parameters: dict[str, Any] | None = None) -> tuple[str, str]:
        """The answer to `query` in ClickHouse's format `form`, and the format it came in.

        `parameters` are bound to `{name:Type}` in the query.

        Raises:
            SondeError: the port cannot be reached or refused the query.
        """
        said = {
            "database": self.database,
            "default_format": form,
            "output_format_json_array_of_rows": "1",
            "output_format_json_quote_64bit_integers": "0",
        }
        said |= {f"param_{name}": str(value) for name, value in (parameters or {}).items()}
        request = Request(f"{self.url.rstrip('/')}/?{urlencode(said)}", data=query.encode(), method="POST")
        if not request.full_url.startswith(("http://", "https://")):
            raise UsageError(f"{self.url} is not an address; write http://host:8123")
        for name, value in self._credentials().items():
            request.add_header(name, value)
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:
                body = answer.read().decode("utf-8", "replace")
                return body, answer.headers.get("X-ClickHouse-Format", "")
        except HTTPError as error:
            with error:
                text = " ".join(error.read(4096).decode("utf-8", "replace").split())
            raise SondeError(f"query refused: {text}") from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise SondeError(f"{self.url} is not reachable ({reason}); is `sonde aggregator` running?") from None

    def rows(self, query: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of `query`, column -> value; raises as `ask` does."""
        found: list[dict[str, Any]] = json.loads(self.ask(query, "JSON", parameters)[0])["data"]
        return found

    def _credentials(self) -> dict[str, str]:
        headers = {"X-ClickHouse-User": self.user} if self.user else {}
        if self.token_file:
            try:
                headers["X-ClickHouse-Key"] = Path(self.token_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise UsageError(f"{self.token_file}: {error.strerror}") from None
        return headers


def run(query: str, form: str, port: SqlPort) -> str:
    """The result of `query` as text.

    Raises:
        SondeError: the port cannot be reached or refused the query.
    """
    body, used = port.ask(query, _FORMATS[form])
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
