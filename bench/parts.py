"""Rows and bytes of every table of a store that no aggregator has open, after all merges.

python -m bench.parts PATH; prints JSON: table -> [rows, bytes on disk].
"""

from __future__ import annotations

import json
import sys

from aggregator.storage.client import Store, parse

_TABLES = "SELECT name FROM system.tables WHERE database = 'sonde' AND engine LIKE '%MergeTree'"
_PARTS = (
    "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'sonde' GROUP BY table"
)


def main() -> None:
    """Merge and count."""
    store = Store(parse(f"chdb://{sys.argv[1]}"), 4 << 30)
    for (table,) in store.client().query(_TABLES).result_rows:
        store.command(f"OPTIMIZE TABLE {table} FINAL")
    found = store.client().query(_PARTS).result_rows
    print(json.dumps({table: [rows, octets] for table, rows, octets in found}))
    store.close()


if __name__ == "__main__":
    main()
