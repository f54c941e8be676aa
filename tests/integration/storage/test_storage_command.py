"""`sonde storage` over the SQL port."""

from __future__ import annotations

import json

from tests.integration.storage.test_late import NOW_S, deliver
from tests.support.aggregators import Aggregator
from tests.support.commands import sonde


def test_each_table_has_its_rows_bytes_and_growth(aggregator: Aggregator) -> None:
    deliver(aggregator, "s-web", [NOW_S - 7200 + second for second in range(1000)])
    url = ("--url", f"http://127.0.0.1:{aggregator.sql}")
    told = json.loads(sonde("storage", *url, "--format", "json").stdout)
    tables = {one["name"]: one for one in told["tables"]}
    requests = tables["requests"]
    assert requests["rows"] == 1000
    assert requests["retention_days"] == 7
    assert 0 < requests["bytes"] < requests["plain_bytes"]
    assert requests["bytes_per_row"] == round(requests["bytes"] / 1000, 3)
    # 1,000 rows in the two hours that the table has seen.
    assert 11_000 < requests["rows_per_day"] < 12_100
    assert tables["request_stats_1h"]["retention_days"] == 400
    assert "in_flight" not in tables
    assert told["bytes"] == sum(one["bytes"] for one in told["tables"])
    assert 0 < told["free_bytes"] <= told["total_bytes"]
    text = sonde("storage", *url)
    assert text.returncode == 0, text.stderr
    assert text.stdout.splitlines()[0].split() == [
        "table", "rows", "bytes_on_disk", "bytes/row", "compression", "rows/day", "kept_days",
    ]  # fmt: skip
    assert "disk" in text.stdout.splitlines()[-1]
