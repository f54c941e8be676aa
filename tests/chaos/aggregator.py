"""`python -m tests.chaos.aggregator JSON COMMAND...`: the `sonde` command, to which something happens.

JSON: {"die": point, "die_calls": n, "migration": true}; the clock can always be set, see clock.py. Everything that is
not asked for is the product as it stands.
"""

from __future__ import annotations

from tests.chaos import clock

clock.install()

import json  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

from tests.chaos import dying, lifetime  # noqa: E402

#: Columns that a later release might add, to a table, to its roll-ups and to a table of the ledger.
UPGRADE = tuple(
    f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS chaos UInt8 DEFAULT 7"
    for table in ("requests", "request_stats_10s", "request_stats_1m", "statement_stats_1m", "accepted_batches")
)


def add_migration() -> None:
    """The schema has one more file."""
    from aggregator.storage import migrations

    original = migrations.migrations

    def more() -> list[migrations.Migration]:
        return [*original(), migrations.Migration(999, "999_chaos.sql", UPGRADE, "chaos")]

    migrations.migrations = more


def main() -> None:
    options = json.loads(sys.argv[1])
    lifetime.end_with_parent(signal.SIGKILL)
    if options.get("migration"):
        add_migration()
    if options.get("die"):
        dying.arm(dying.AGGREGATOR, options["die"], options["die_calls"])
    from sonde.cli import main as sonde

    sys.argv[1:2] = []
    sonde()


if __name__ == "__main__":
    main()
