"""One load of both probes for the session; each test looks at one network namespace only."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sonde.errors import SondeError
from tests.conftest import skip_or_fail
from tests.support.agent import Observer
from tests.targets import netns
from tests.targets.netns import Namespace, Network


def why_not() -> str:
    """Why the probes cannot run here, or an empty string."""
    if missing := netns.available():
        return missing
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "the kernel has no BTF"
    return ""


@pytest.fixture(scope="session")
def loaded() -> Iterator[Observer]:
    """Both probes in the kernel; a test that needs others loads its own."""
    if reason := why_not():
        skip_or_fail(reason)
    made = Observer(kilobytes=32768)  # observer and clients share one process here: it can be late
    try:
        made.__enter__()
    except SondeError as error:
        skip_or_fail(str(error))
    with_block = made
    try:
        assert not made.source.broken, made.source.broken
        yield with_block
    finally:
        made.__exit__(None, None, None)


@pytest.fixture
def observer(loaded: Observer) -> Iterator[Observer]:
    """Counts nothing until `look_at`."""
    yield loaded
    loaded.stop()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Two hosts."""
    if reason := why_not():
        skip_or_fail(reason)
    with Network("host", "other") as made:
        yield made


@pytest.fixture
def host(network: Network) -> Namespace:
    """The one that tests look at."""
    return network["host"]
