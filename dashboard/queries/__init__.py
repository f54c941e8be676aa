"""The dashboard's SQL: one statement a file, one purpose a statement, parameters bound as {name:Type}.

A file begins with comment lines that say what a row is. Durations are nanoseconds, times Unix seconds, so
that no reader has to know a time zone. `stats` is bound as an Identifier: the roll-up that fits the range.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"\{(\w+):([^{}]+)\}")


def names() -> list[str]:
    """Every query, alphabetical."""
    return sorted(
        entry.name.removesuffix(".sql")
        for entry in resources.files(__package__).iterdir()
        if entry.name.endswith(".sql")
    )


@cache
def text(name: str) -> str:
    """The statement of `name`.sql."""
    return (resources.files(__package__) / f"{name}.sql").read_text(encoding="utf-8")


@cache
def parameters(name: str) -> dict[str, str]:
    """Parameter -> ClickHouse type, as `name`.sql binds them."""
    return dict(_PARAMETER.findall(text(name)))
