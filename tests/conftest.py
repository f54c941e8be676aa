"""What every suite shares: kernel tests skip or fail by one rule, leftovers of killed runs are removed."""

from __future__ import annotations

import os

import hypothesis
import pytest

from tests.targets import netns

#: set by .ci/run: a missing capability then fails a test instead of skipping it.
REQUIRE_KERNEL = os.environ.get("SONDE_REQUIRE_KERNEL", "") not in ("", "0")


# A busy machine makes one example slow: that is no fault of what is tested.
hypothesis.settings.register_profile("sonde", deadline=None)
hypothesis.settings.load_profile("sonde")


def skip_or_fail(reason: str) -> None:
    """Skips the test because of a missing capability, or fails it where the kernel tests are required."""
    if REQUIRE_KERNEL:
        pytest.fail(f"required here, but missing: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _no_leftovers() -> None:
    if not netns.available():
        netns.remove_leftovers()
