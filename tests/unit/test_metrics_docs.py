"""docs/metrics.md lists every metric of both programs and nothing else; the example alerts are PromQL over them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Metric

from aggregator.config import Api
from aggregator.metrics import Metrics
from node_agent.config import AgentSettings
from node_agent.delivery.stream import Delivery
from node_agent.rows import Tally
from node_agent.stats import Stats
from tests.support.spools import make
from tests.unit.aggregator.test_request_metrics import mixed, of

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "metrics.md").read_text()
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "sonde.rules.yml").read_text())["groups"]
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| ([^|]*) \|$", re.MULTILINE)


class _NoProbes:
    broken = ("requests",)

    def counters(self) -> list[tuple[str, dict[str, int]]]:
        return []


def _families(found: Iterable[Metric]) -> dict[str, tuple[str, str]]:
    return {
        metric.name + ("_total" if metric.type == "counter" else ""): (metric.type, metric.documentation)
        for metric in found
    }


def _aggregator() -> Metrics:
    """With a sample in what has labels."""
    metrics = Metrics(Api())
    metrics.requests.add(of(mixed()))
    metrics.per_agent.inserted("web", 1.0, 2.0)
    metrics.refused.labels("overloaded").inc()
    return metrics


def _documented(section: str) -> dict[str, tuple[str, str]]:
    text = re.split(r"^## ", DOCS, flags=re.MULTILINE)
    part = next(one for one in text if one.startswith(section))
    return {name: (kind, says) for name, kind, _, says in _ROW.findall(part)}


def _missing(section: str, found: dict[str, tuple[str, str]]) -> str:
    """What to write into the tables."""
    known = _documented(section)
    lines = [f"| `{name}` | {kind} | LABELS | {says} |" for name, (kind, says) in found.items()
             if known.get(name) != (kind, says)]  # fmt: skip
    gone = [f"no longer: {name}" for name in known if name not in found]
    return "\n".join(lines + gone)


def test_the_aggregators_metrics_are_all_documented() -> None:
    assert _missing("Aggregator", _families(Metrics().registry.collect())) == ""


def test_the_agents_metrics_are_all_documented(tmp_path: Path) -> None:
    spool = make(tmp_path / "spool.db")
    delivery = Delivery(AgentSettings(), spool)
    stats = Stats(_NoProbes(), spool, Tally(), delivery)  # type: ignore[arg-type]
    assert _missing("Agent", _families(stats.collect())) == ""
    spool.close()


def test_labels_are_documented() -> None:
    documented = {
        name: {one.strip() for one in labels.split(",") if one.strip()} for name, _, labels, _ in _ROW.findall(DOCS)
    }
    for family in _aggregator().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == documented[name], name


def _selectors(node: Any) -> Iterator[Any]:
    """Vector selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str | float | int):
            yield from _selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from _selectors(child)


ALERTS = [rule for group in RULES for rule in group["rules"]]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_promql_over_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    samples: dict[str, set[str]] = {"up": {"job"}} | {
        name: {one.strip() for one in labels.split(",")} for name, _, labels, _ in _ROW.findall(DOCS)
    }
    for family in _aggregator().registry.collect():
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    selectors = list(_selectors(promql_parser.parse(rule["expr"])))
    assert set(re.findall(r"\b(?:sonde_\w+|up)\b", rule["expr"])) == {selector.name for selector in selectors}
    for selector in selectors:
        assert selector.name in samples, selector.name
        used = {matcher.name for matcher in selector.matchers.matchers}
        assert used <= samples[selector.name], (selector.name, used)


def test_alerts_have_names_of_their_own() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) >= 5
