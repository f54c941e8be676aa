"""`sonde storage` and `sonde verify`: what the store holds, and whether its tables agree; both over the SQL port."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from aggregator.sql_client import SqlPort, table
from aggregator.sql_options import sql_port
from sonde.errors import SondeError

if TYPE_CHECKING:
    from aggregator.storage.report import Report

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_cluster = click.option("--cluster", default="", metavar="NAME", help="Behind --url is a cluster of that name.")


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@_cluster
@sql_port
def storage(form: str, cluster: str, port: SqlPort) -> None:
    """Rows, bytes and growth of each table, and when the disk will be full.

    rows/day is what the last day brought, or the table's whole life if that is shorter.
    """
    from aggregator.storage import report
    from aggregator.storage.templates import Target

    found = report.read(port.rows, Target(cluster, port.database))
    click.echo(_as_json(found) if form == "json" else _as_text(found), nl=False)


def _as_json(found: Report) -> str:
    names = ("name", "rows", "bytes", "plain_bytes", "bytes_per_row", "compression", "rows_per_day", "bytes_per_day",
             "retention_days", "oldest_days")  # fmt: skip
    tables = [{name: _rounded(getattr(one, name)) for name in names} for one in found.tables]
    final = None if math.isinf(found.final_bytes) else round(found.final_bytes)
    said = {
        "tables": tables,
        "bytes": found.bytes,
        "final_bytes": final,
        "free_bytes": found.free_bytes,
        "total_bytes": found.total_bytes,
        "days_until_full": _rounded(found.days_until_full),
    }
    return json.dumps(said, indent=2) + "\n"


def _rounded(number: Any) -> Any:
    return round(number, 3) if isinstance(number, float) else number


def _as_text(found: Report) -> str:
    numbers = ("rows", "bytes_on_disk", "bytes/row", "compression", "rows/day", "kept_days")
    meta = [{"name": "table", "type": "String"}, *({"name": name, "type": "Float64"} for name in numbers)]
    data = [
        [one.name, one.rows, one.bytes, round(one.bytes_per_row, 1), round(one.compression, 1),
         round(one.rows_per_day), one.retention_days or None]
        for one in found.tables
    ]  # fmt: skip
    lines = [
        f"store {_size(found.bytes)}; disk {_size(found.free_bytes)} free of {_size(found.total_bytes)}",
        _forecast(found),
    ]
    return table({"meta": meta, "data": data}) + "\n".join(lines) + "\n"


def _forecast(found: Report) -> str:
    days = found.days_until_full
    if days is None:
        return f"the disk does not fill: with all retentions reached the store is {_size(found.final_bytes)}"
    return f"the disk is full in {days:.1f} days at the growth seen"


def _size(count: float) -> str:
    power = 0
    while count >= 1024 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.1f} {_UNITS[power]}" if power else f"{count:.0f} B"


@click.command()
@click.option("--since", metavar="AGE", help="Only what completed since then: 90m, 24h, 7d; default: all that is kept.")
@_cluster
@sql_port
def verify(since: str | None, cluster: str, port: SqlPort) -> None:
    """Check that raw rows, totals of 10 s, minute and hour, and statements agree; exit code 1 if they do not.

    Per host and role, over intervals that are closed and within the retention of both tables.
    """
    from aggregator.storage import verify as checks
    from aggregator.storage.templates import Target

    failed = 0
    for check in checks.run(port.rows, Target(cluster, port.database), checks.age_s(since) if since else None):
        click.echo(check.summary)
        for line in check.differences:
            click.echo(f"  {line}")
        failed += len(check.differences)
    if failed:
        raise SondeError(f"{failed} differences; the lines above say where")
