"""What a query on the SQL port may be: one reading statement over the store's own tables.

The engine's readonly=1 refuses writes, file(), url() and changed settings, but (measured on chDB 26.9) lets
`SELECT file('/etc/passwd')`, `SELECT ... INTO OUTFILE '/path'`, `KILL QUERY`, `DESCRIBE file(...)` and s3() pass. So
this guard stands before it. It reads the query as tokens and rebuilds it from them without comments: what the guard did
not see, the engine does not get. What the guard cannot read for sure (other quotes, heredocs, control characters) is
refused. It errs on the side of refusing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sonde.errors import SondeError

#: ClickHouse's error codes.
READONLY, SYNTAX_ERROR, FUNCTION_NOT_ALLOWED, SETTING_NOT_ALLOWED = 164, 62, 446, 452

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+)
  | (?P<comment>--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^'\\]|\\.|'')*')
  | (?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][A-Za-z0-9_]*)
  | (?P<sign>/(?![/*])|[-+*%=<>!|,.:;?@^~&(){}\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)

_FIRST_WORDS = frozenset({"select", "with", "from", "show", "describe", "desc", "exists", "explain"})
_FORBIDDEN_WORDS = frozenset({"outfile", "infile"})
#: Table functions that touch nothing outside the query.
_HARMLESS = frozenset(
    {
        "format",
        "generate_series",
        "generateseries",
        "null",
        "numbers",
        "numbers_mt",
        "values",
        "view",
        "zeros",
        "zeros_mt",
    }
)
#: Functions that read files, wait, or call out. Those of the engine's table functions are added.
_FORBIDDEN_FUNCTIONS = frozenset(
    {
        "aiclassify", "aiembed", "aiextract", "aifilter", "aigenerate", "airedact", "aisimilarity", "aitranslate",
        "catboostevaluate",
        "executable", "file", "filesystem", "getclienthttpheader", "hdfs", "input", "jdbc", "mongodb",
        "mysql", "odbc", "postgresql", "python", "redis", "remote", "remotesecure", "s3", "sleep", "sleepeachrow",
        "sqlite", "url",
    }
)  # fmt: skip


class SqlRefused(SondeError):  # noqa: N818  (it is an answer to the client)
    """A query that is not allowed here; `code` is ClickHouse's number, `status` the HTTP status."""

    def __init__(self, code: int, name: str, message: str, status: int) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}. ({name})")
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Query:
    """A query that passed: its text for the engine, and the format its FORMAT clause names ('' without one)."""

    text: str
    format: str
    tokens: list[tuple[str, str]] = field(default_factory=list)  # (kind, text) without blanks


def _readonly(message: str) -> SqlRefused:
    return SqlRefused(READONLY, "READONLY", f"{message}; this port only reads", 403)


def _syntax(message: str) -> SqlRefused:
    return SqlRefused(SYNTAX_ERROR, "SYNTAX_ERROR", message, 400)


class Guard:
    """Checks queries; knows the engine's table functions."""

    def __init__(self, table_functions: Iterable[str] = ()) -> None:
        known = {name.lower() for name in table_functions}
        self._forbidden = (known - _HARMLESS) | _FORBIDDEN_FUNCTIONS

    def check(self, text: str) -> Query:
        """The query, ready for the engine.

        Raises:
            SqlRefused: it is not one reading statement, or calls what reaches outside the store.
        """
        spaced = _tokens(text)
        while spaced and spaced[-1][1] in (";", " "):
            spaced.pop()
        tokens = [token for token in spaced if token[0] != "space"]
        if not tokens:
            raise _syntax("Empty query; write a SELECT")
        if ("sign", ";") in tokens:
            raise _syntax("Multi-statements are not allowed")
        first = next((text for _, text in tokens if text != "("), "").lower()
        if first not in _FIRST_WORDS:
            raise _readonly(f"{first[:40].upper()} is not allowed: only SELECT, WITH, SHOW, DESCRIBE, EXISTS, EXPLAIN")
        for (kind, token), (_, following) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
            if kind == "word" and token.lower() in _FORBIDDEN_WORDS:
                raise _readonly(f"{token.upper()} is not allowed")
            if following == "(" and kind in ("word", "quoted"):
                self._check_function(token[1:-1] if kind == "quoted" else token)
        *_, before, last = [("", ""), *tokens]
        named = last[0] == "word" and before[1].lower() == "format"
        return Query("".join(text for _, text in spaced), last[1] if named else "", tokens)

    def _check_function(self, name: str) -> None:
        if "\\" in name or name.lower() in self._forbidden:
            raise SqlRefused(
                FUNCTION_NOT_ALLOWED, "FUNCTION_NOT_ALLOWED", f"Function {name}() is not allowed here", 403
            )


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of every token; a comment is one space."""
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _syntax(f"Syntax error at {text[position : position + 20]!r}")
        position = match.end()
        blank = match.lastgroup in ("space", "comment")
        tokens.append(("space", " ") if blank else (str(match.lastgroup), match.group()))
    return tokens
