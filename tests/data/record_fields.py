"""Every field of the wire: `python -m tests.data.record_fields` adds new ones to tests/data/wire/fields.txt.

A line is MESSAGE.FIELD NUMBER TYPE, or ENUM.VALUE NUMBER. Lines are only ever added: that a field has gone, or has
another number or type, is what the test of this file finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proto import sonde_pb2 as pb

FILE = Path(__file__).parent / "wire" / "fields.txt"


def _of_enum(enum: Any) -> Iterator[str]:
    for value in enum.values:
        yield f"{enum.full_name}.{value.name} {value.number}"


def _of_message(message: Any) -> Iterator[str]:
    for field in message.fields:
        of = field.message_type or field.enum_type
        kind = of.full_name if of is not None else f"type {field.type}"
        yield f"{field.full_name} {field.number} {'repeated ' if field.is_repeated else ''}{kind}"
    for nested in message.nested_types:
        yield from _of_message(nested)
    for enum in message.enum_types:
        yield from _of_enum(enum)


def fields() -> set[str]:
    """All lines of this tree."""
    file = pb.DESCRIPTOR
    messages = [line for message in file.message_types_by_name.values() for line in _of_message(message)]
    return {*messages, *(line for enum in file.enum_types_by_name.values() for line in _of_enum(enum))}


def main() -> None:
    """Add what is new."""
    known = set(FILE.read_text().splitlines()) if FILE.exists() else set()
    FILE.write_text("\n".join(sorted(known | fields())) + "\n")


if __name__ == "__main__":
    main()
