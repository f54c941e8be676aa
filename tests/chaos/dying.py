"""Ends this process with SIGKILL at the n-th call of a function of the product, before or after it ran.

Only tests import this: the product has no such switch. A point is a name in the table of its program below; the
functions are looked up when the point is set, so that a renamed one fails the run instead of never dying.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import threading
from typing import Any

#: point -> function, whether it dies before or after it.
AGGREGATOR = {
    "before the journal": ("aggregator.ingest.journal:Journal.append", "before"),
    "in the journal": ("aggregator.ingest.journal:Journal._write", "after"),
    "between journal and insert": ("aggregator.ingest.journal:Journal.append", "after"),
    "before an insert": ("aggregator.storage.client:Store.insert", "before"),
    "after an insert": ("aggregator.storage.client:Store.insert", "after"),
    "between insert and ledger": ("aggregator.ingest.ledger:Ledger.accept", "before"),
    "between insert and acknowledgement": ("aggregator.ingest.ledger:Ledger.accept", "after"),
    "after the journal forgot": ("aggregator.ingest.journal:Journal.forget", "after"),
    "before an acknowledgement": ("aggregator.ingest.service:Stream._acknowledge", "before"),
}
AGENT = {
    "between mark and commit": ("node_agent.delivery.spool_file:SpoolFile.append", "before"),
    "between commit and the next step": ("node_agent.delivery.spool_file:SpoolFile.append", "after"),
    "before an acknowledgement is kept": ("node_agent.delivery.spool:Spool.acknowledge", "before"),
    "after an acknowledgement is kept": ("node_agent.delivery.spool:Spool.acknowledge", "after"),
}


#: Calls that a run makes of these while a fault lasts; of the others a few.
MANY = ("before an insert", "after an insert", "before an acknowledgement")


def arm(points: dict[str, tuple[str, str]], point: str, calls: int) -> None:
    """Die at the `calls`-th call from now on."""
    place, moment = points[point]
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    original, static = getattr(owner, name), isinstance(vars(owner)[name], staticmethod)
    lock, left = threading.Lock(), [calls]

    @functools.wraps(original)
    def dying(*args: Any, **given: Any) -> Any:
        with lock:
            left[0] -= 1
            now = left[0] == 0
        if now and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        out = original(*args, **given)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return out

    setattr(owner, name, staticmethod(dying) if static else dying)
