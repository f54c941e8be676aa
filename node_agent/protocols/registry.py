"""Which protocols there are: one line a protocol in each map, alphabetical.

A protocol is one module here (scalar parsers), one `_<name>_block` (the same over whole blocks), one header
bpf/protocols/<name>.h, one section of docs/protocols.md and one number of proto's Protocol.
"""

from __future__ import annotations

from types import ModuleType

from node_agent.protocols import _http1_block, _mysql_block, _redis_block, http1, mysql, redis

_MODULES: tuple[tuple[ModuleType, ModuleType], ...] = (
    (http1, _http1_block),
    (mysql, _mysql_block),
    (redis, _redis_block),
)

#: Number of proto's Protocol -> module of scalar parsers.
PROTOCOLS: dict[int, ModuleType] = {module.NUMBER: module for module, _ in _MODULES}
#: Number of proto's Protocol -> its vectorised reading.
BLOCKS: dict[int, ModuleType] = {module.NUMBER: whole for module, whole in _MODULES}
#: Names, as in the column `protocol` and the stems of the kernel's headers.
NAMES: dict[int, str] = {module.NUMBER: module.NAME for module, _ in _MODULES}
