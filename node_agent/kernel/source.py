"""One text for BCC: our own includes inlined, with #line so that errors name the right file.

BCC compiles map methods and kernel reads in an included file, but the program then fails to load; the same text
in the main file loads. Hence no #include of ours reaches BCC.
"""

from __future__ import annotations

import re
from importlib import resources

from sonde.errors import ProbeError

_INCLUDE = re.compile(r'^#include "([\w/.]+)"\s*$')


def inline(name: str, _seen: set[str] | None = None) -> str:
    """Text of bpf/`name` with each `#include "..."` replaced, once, by the file's text.

    Raises:
        ProbeError: a file is missing from the installation.
    """
    seen = set() if _seen is None else _seen
    seen.add(name)
    place = resources.files("bpf").joinpath(name)
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ProbeError(f"bpf/{name} is missing from this installation; install sonde again") from None
    out = [f'#line 1 "bpf/{name}"']
    for number, line in enumerate(lines, start=1):
        match = _INCLUDE.match(line)
        if match is None:
            out.append(line)
            continue
        included = match.group(1)
        if included not in seen:
            out.append(inline(included, seen))
        out.append(f'#line {number + 1} "bpf/{name}"')
    return "\n".join(out) + "\n"
