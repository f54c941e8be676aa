"""`sonde aggregator` that kills itself: python -m tests.support.dying_aggregator STEP aggregator ...

The process ends by SIGKILL after the step was first done for a block that is not replayed. Steps: journaled,
stored:TABLE, accepted (the ledger has the block), forgotten.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from aggregator.ingest.journal import Journal
from aggregator.ingest.ledger import Ledger
from aggregator.ingest.pipeline import Pipeline
from aggregator.storage.client import Store

_STEPS = {"journaled": (Journal, "append"), "accepted": (Ledger, "accept"), "forgotten": (Journal, "forget")}


def die_after(step: str) -> None:
    """End this process as soon as `step` was done, once the replay of the journal is over."""
    name, _, table = step.partition(":")
    owner, method = (Store, "insert") if table else _STEPS[name]
    done: Callable[..., Any] = getattr(owner, method)
    replay = Pipeline._replay
    armed = threading.Event()

    def then_die(self: Any, *given: Any) -> Any:
        out = done(self, *given)
        if armed.is_set() and (not table or given[0] == table):
            os.kill(os.getpid(), signal.SIGKILL)
        return out

    def then_arm(self: Pipeline) -> None:
        replay(self)
        armed.set()

    setattr(owner, method, then_die)
    Pipeline._replay = then_arm  # type: ignore[method-assign]


if __name__ == "__main__":
    from sonde.cli import main

    die_after(sys.argv.pop(1))
    main()
