"""Which aggregator is tried next.

Invariants:
    - an agent's order of preference depends on its name and the addresses only (rendezvous hashing): agents spread
      evenly, and an address that is added or removed moves only the agents that it concerns
    - the first address of that order whose waiting time is over is next; an address that fails waits longer each time,
      up to a bound, and one that served starts from the shortest again
    - no two agents wait alike: every wait is drawn at random from a range
Times are seconds of whatever clock the caller passes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

_FIRST_WAIT_SECONDS = 0.25
_SPREAD_SECONDS = 1.0  # over which the agents of an aggregator that ended come to the next one


def preference(agent: str, addresses: Sequence[str]) -> list[str]:
    """`addresses`, the one that this agent likes best first.

    See: Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (rendezvous hashing).
    """

    def weight(address: str) -> bytes:
        return hashlib.blake2b(f"{agent}\0{address}".encode(), digest_size=8).digest()

    return sorted(addresses, key=weight, reverse=True)


@dataclass
class _State:
    wait: float = 0.0  # the last one, before chance; 0 after it served
    free_at: float = 0.0


class Addresses:
    """The addresses of one agent. Not thread-safe by itself."""

    def __init__(self, agent: str, addresses: Sequence[str], longest_wait: float) -> None:
        self.order = preference(agent, addresses)
        self._longest = longest_wait
        self._states = {address: _State() for address in addresses}

    def served(self, address: str) -> None:
        """It answered a batch."""
        self._states[address].wait = 0.0

    def failed(self, address: str, now: float) -> None:
        """The stream to it broke, or could not be begun."""
        state = self._states[address]
        state.wait = min(max(2 * state.wait, _FIRST_WAIT_SECONDS), self._longest)
        state.free_at = now + state.wait * random.uniform(0.5, 1.0)

    def free(self, address: str, now: float) -> bool:
        """Whether it need not wait."""
        return self._states[address].free_at <= now

    def next(self, now: float, last: str | None = None) -> tuple[str, float]:
        """The address to try, and in how many seconds; `last` is the one that was left just now."""
        for address in self.order:
            if self.free(address, now):
                # All agents of an aggregator lose it in the same moment.
                return address, random.uniform(0, _SPREAD_SECONDS) if last not in (None, address) else 0.0
        soonest = min(self.order, key=lambda address: self._states[address].free_at)
        return soonest, self._states[soonest].free_at - now

    def better(self, than: str, now: float) -> list[str]:
        """Those liked better than `than` that need not wait."""
        return [one for one in self.order[: self.order.index(than)] if self.free(one, now)]
