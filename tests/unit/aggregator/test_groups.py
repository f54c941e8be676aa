"""Group-by: sums are exact, sketches equal those of a plain loop and keep their error."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.ingest.groups import Groups
from sonde import sketch
from sonde.groups import combine
from sonde.sketches import Buckets


def arrays(*columns):
    return [np.array(column, dtype=np.uint64) for column in columns]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 2**63, 7]), st.integers(0, 2**40), st.integers(1, 5)),
                min_size=1, max_size=60))  # fmt: skip
def test_sums_and_sketches_equal_a_plain_loop(rows) -> None:
    first, second, value, weight = arrays(*zip(*rows, strict=True))
    groups = Groups.by([first, second])
    sums, sketches = defaultdict(int), defaultdict(Counter)
    for a, b, v, w in rows:
        sums[a, b] += v * w
        sketches[a, b][int(sketch.bucket(np.array([v], dtype=np.uint64))[0])] += w
    keys = [(int(first[i]), int(second[i])) for i in groups.first]
    assert sorted(keys) == sorted(sums)
    assert [int(one) for one in groups.sums(value * weight)] == [sums[key] for key in keys]
    assert [dict(one) for one in groups.sketches(value, weight).to_pylist()] == [dict(sketches[key]) for key in keys]
    merged = groups.merged(Buckets.of(value, weight))
    for name in ("sizes", "keys", "counts"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(groups.buckets(value, weight), name))


def test_combine_keeps_apart_what_would_overflow() -> None:
    rng = np.random.default_rng(7)
    columns = [rng.integers(0, 2**63, 500, dtype=np.uint64) for _ in range(6)]
    columns = [np.concatenate([column, column]) for column in columns]
    key = combine(columns)
    assert len(np.unique(key)) == 500
    assert np.array_equal(key[:500], key[500:])


@pytest.mark.parametrize("level", [0.0, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_a_sketch_is_within_one_per_cent_of_the_exact_quantile(level) -> None:
    rng = np.random.default_rng(11)
    values = (rng.lognormal(15, 2, 10_007)).astype(np.uint64)
    groups = Groups.by([np.zeros(len(values), dtype=np.uint64)])
    one = dict(groups.sketches(values, np.ones_like(values)).to_pylist()[0])
    exact = np.sort(values)[int(np.floor(level * (len(values) - 1)))]
    assert sketch.quantile(level, one) == pytest.approx(float(exact), rel=0.0101)
