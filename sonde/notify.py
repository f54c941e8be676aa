"""What a program tells systemd: that it is ready, what it does, that it still lives (sd_notify(3)).

Without $NOTIFY_SOCKET every function does nothing. A message that cannot be sent is dropped: a program never fails
because its supervisor does not listen.
"""

from __future__ import annotations

import os
import socket
import time


def notify(*assignments: str) -> bool:
    """Send assignments such as "READY=1" or "STATUS=..."; True if systemd took them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(1)
            channel.sendto("\n".join(assignments).encode(), address)
    except OSError:
        return False
    return True


class Watchdog:
    """Says "still alive" as often as the unit's WatchdogSec asks for; call `beat` from the loop that must not hang."""

    def __init__(self) -> None:
        text, owner = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        mine = not owner or owner == str(os.getpid())
        #: Seconds between two beats, a third of what systemd allows; 0: nobody asks.
        self.seconds = int(text) / 3e6 if text.isdigit() and mine else 0.0
        self._next = 0.0

    def beat(self) -> None:
        """Tell it, if it is time."""
        now = time.monotonic()
        if self.seconds and now >= self._next:
            self._next = now + self.seconds
            notify("WATCHDOG=1")
