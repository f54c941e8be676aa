"""Children end with their parent: Linux's parent-death signal, so that a killed run leaves no process behind."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals) -> None:
    """Get `number` when the thread that started this process ends; see prctl(2)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() == 1:
        os.kill(os.getpid(), number)
