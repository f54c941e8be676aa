"""What a block brought into the store, for /metrics: counted when all of it is in, so that a repeat counts once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregator.agent_metrics import COUNTS
from aggregator.ingest.merge import Merged
from aggregator.request_metrics import Totals


@dataclass(frozen=True)
class Written:
    """Rows by table, totals of requests, and sums of agent_stats by agent."""

    rows: dict[str, int]
    requests: Totals
    agents: dict[str, dict[str, int]]


def agent_counts(merged: Merged) -> dict[str, dict[str, int]]:
    """Sums of COUNTS in agent_stats by the agent that sent them."""
    rows = merged.sections["agent_stats"]
    out: dict[str, dict[str, int]] = {}
    if not len(rows["part"]):
        return out
    parts = np.unique(rows["part"]).tolist()
    sums = {name: np.bincount(rows["part"], weights=rows[name]).astype(np.uint64).tolist() for name in COUNTS}
    for part in parts:
        counts = out.setdefault(merged.parts[part].batch.agent, dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            counts[name] += sums[name][part]
    return out
