"""A dozen runs of the set checker, which together have every kind of fault; `make chaos` is for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import schedule
from tests.chaos.__main__ import run_all

_FIRST, _RUNS, _PARALLEL, _BOUND_S = 20261121, 12, 2, 240.0


@pytest.mark.timeout(_RUNS * _BOUND_S)
def test_a_dozen_randomised_runs_lose_and_repeat_nothing(tmp_path: Path) -> None:
    assert _RUNS >= schedule.CONSECUTIVE
    failed = run_all(range(_FIRST, _FIRST + _RUNS), tmp_path, _PARALLEL, _BOUND_S)
    assert not failed, f'make chaos ARGS="--runs 1 --seed {failed[0]}" repeats the first of {failed}; see above'
