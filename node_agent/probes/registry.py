"""All probes, alphabetical.

A new one: bpf/NAME.c, node_agent/probes/NAME.py, tests/kernel/test_NAME.py and a line here.
"""

from __future__ import annotations

from node_agent.probes.base import Probe
from node_agent.probes.connections import Connections
from node_agent.probes.requests import Requests

PROBES: dict[str, type[Probe]] = {
    "connections": Connections,
    "requests": Requests,
}
