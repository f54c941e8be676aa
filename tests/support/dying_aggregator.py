"""`sonde aggregator` that kills itself: python -m tests.support.dying_aggregator STEP NUMBER aggregator ...

After the step was done NUMBER times, the process ends by SIGKILL. Steps: journaled, stored:TABLE, accepted (the ledger
has the block), forgotten.
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
from aggregator.storage.client import Store

_STEPS = {"journaled": (Journal, "append"), "accepted": (Ledger, "accept"), "forgotten": (Journal, "forget")}


def die_after(step: str, number: int) -> None:
    """End this process once `step` was done `number` times."""
    name, _, table = step.partition(":")
    owner, method = (Store, "insert") if table else _STEPS[name]
    done: Callable[..., Any] = getattr(owner, method)
    lock, left = threading.Lock(), number

    def then_die(self: Any, *given: Any) -> Any:
        nonlocal left
        out = done(self, *given)
        if not table or given[0] == table:
            with lock:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        return out

    setattr(owner, method, then_die)


if __name__ == "__main__":
    from sonde.cli import main

    die_after(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:3] = []
    main()
