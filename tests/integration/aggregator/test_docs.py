"""docs/sql.md names every table, view and column of the store, and its questions run."""

from __future__ import annotations

import re

from tests.support.aggregators import ROOT, Aggregator

TEXT = (ROOT / "docs" / "sql.md").read_text()


def test_every_table_and_column_is_documented(aggregator: Aggregator) -> None:
    rows = aggregator.query(
        "SELECT table, name FROM system.columns WHERE database = 'sonde' AND table NOT LIKE '%_from_10s' ORDER BY ALL"
    )
    assert rows
    words = set(re.findall(r"\w+", TEXT))
    assert [row for row in rows if not set(row) <= words] == []


def test_the_questions_of_the_docs_run(aggregator: Aggregator) -> None:
    block = TEXT.partition("```sql\n")[2].partition("```")[0]
    questions = [one for one in block.split(";\n") if one.strip()]
    assert len(questions) >= 4
    for question in questions:
        aggregator.query(question)
