"""From masked SQL to verb, first table and the text that is shown; sees no literal, so it can leak none.

Runs once per distinct mask. Lists of literals are collapsed, `IN (?, ?, ?)` and `VALUES (?, ?), (?, ?)` to one
`(?)`, so that statements that differ only in how many values they carry are one statement; also where the list
is cut off by the end of the prefix.
"""

from __future__ import annotations

import re

from node_agent.protocols._types import words

#: First words that become an operation; any other is `~other`, so that text that is no SQL cannot make names.
VERBS = words(
    "ALTER ANALYZE BACKUP BEGIN BINLOG CACHE CALL CHANGE CHECK CHECKSUM COMMIT CREATE DEALLOCATE DELETE DESC "
    "DESCRIBE DO DROP EXECUTE EXPLAIN FLUSH GET GRANT HANDLER HELP IMPORT INSERT INSTALL KILL LOAD LOCK "
    "OPTIMIZE PREPARE PURGE RELEASE RENAME REPAIR REPLACE RESET RESIGNAL REVOKE ROLLBACK SAVEPOINT SELECT SET "
    "SHOW SHUTDOWN SIGNAL START STOP TABLE TRUNCATE UNINSTALL UNLOCK UPDATE USE VALUES WITH XA"
)

_NAME = r"(?:`[^`]+`|[^\W\d][\w$]*)"
_TABLE = rf"({_NAME}(?:\s?\.\s?{_NAME})?)"
_MODIFIERS = r"(?:(?:LOW_PRIORITY|HIGH_PRIORITY|DELAYED|QUICK|IGNORE|ONLY|IF|NOT|EXISTS|INTO|TABLE|LATERAL)\s+)*"
_LEADING = re.compile(
    rf"\b(?:FROM|INTO|UPDATE|TABLES?|JOIN|CALL|USE|INSERT|REPLACE|DESC|DESCRIBE|HANDLER|TRUNCATE)\s+(?:\(\s*)*"
    rf"{_MODIFIERS}{_TABLE}",
    re.IGNORECASE,
)
_FROM_INSIDE = re.compile(r"\b(?:EXTRACT|TRIM|SUBSTRING|SUBSTR|MID)\s?\([^()]*\)", re.IGNORECASE)
_NOT_TABLES = frozenset(("SELECT", "VALUES", "SET", "DUAL", "OUTFILE", "DUMPFILE", "STATUS", "FORMAT", "LOCAL"))
_ITEM = r"(?:\?|NULL|DEFAULT|TRUE|FALSE)"

_REWRITES = (
    (re.compile(r"/\x01|-{1,3}\x02"), " "),
    (re.compile(r"\x03"), " ..."),
    (re.compile(r"[\x00-\x20]+"), " "),
    (re.compile(r"\b(?:[xXbBnN]|_[a-z][a-z0-9]*) ?\?"), "?"),  # x'41', N'a', _utf8'a'
    (re.compile(r"(?<![\w`?])\.\?"), "?"),  # .5
    (re.compile(r"\?(?: \?)+"), "?"),  # 'a' 'b' is one string
    (re.compile(r"([=(,<>]) ?[-+] ?\?"), r"\1 ?"),
    (re.compile(r"\( ?\?"), "(?"),
    (re.compile(rf"\( ?{_ITEM}(?: ?, ?{_ITEM})* ?\)", re.IGNORECASE), "(?)"),
    (re.compile(r"\(\?\)(?: ?, ?\(\?\))+"), "(?)"),
    (re.compile(rf"\(\?\) ?, ?\(? ?(?:{_ITEM} ?,? ?)*$", re.IGNORECASE), "(?)"),
    (re.compile(rf"\( ?{_ITEM}(?: ?, ?{_ITEM})* ?,? ?$", re.IGNORECASE), "(?"),
)
_VERB = re.compile(r"[\s(;]*([A-Za-z]+)\b")


def text(masked: bytes) -> str:
    """The statement to show, from what the automaton emitted; bytes that are not UTF-8 become U+FFFD."""
    shown = masked.decode("utf-8", "replace")
    for pattern, by in _REWRITES:
        shown = pattern.sub(by, shown)
    return shown.strip(" ;")


def verb(shown: str) -> str:
    """First word, upper case; `~other` where it is not SQL's."""
    found = _VERB.match(shown)
    word = found[1].upper() if found else ""
    return word if word in VERBS else "~other"


def first_table(shown: str) -> str:
    """First table (or procedure, or database of USE) named, without backticks; "" for none."""
    for found in _LEADING.finditer(_FROM_INSIDE.sub(" ", shown)):
        name = found[1]
        if name.upper() not in _NOT_TABLES:
            return re.sub(r"\s?\.\s?", ".", name.replace("`", ""))
    return ""
