"""The dtypes of node_agent/kernel/layout.py against what clang made of the C: every size and every offset.

A function that answers offsetof() and sizeof() is appended to the probe's own text, compiled with it and run once a
question.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from node_agent.config import AgentSettings
from node_agent.kernel import layout, loader, source, syscall
from node_agent.probes.registry import PROBES
from tests.conftest import skip_or_fail
from tests.kernel.conftest import why_not

ADDRESS = dict.fromkeys(("local_ip", "remote_ip", "local_port", "remote_port"), "address.")
Structure = tuple[str, "np.dtype[Any]", dict[str, str]]

STRUCTURES: dict[str, list[Structure]] = {
    "requests": [
        ("settings", layout.SETTINGS, {}),
        ("arrival", layout.ARRIVAL, {}),
        ("segment", layout.SEGMENT, {}),
        ("marks", layout.MARKS, {}),
        ("turn", layout.TURN, ADDRESS),
        *((name.removesuffix("s"), record, {}) for name, record in layout.TURNS.items()),
        ("conn", layout.REQUEST_CONN, ADDRESS | {"connection_id": "identity."}),
    ],
    "connections": [
        ("settings", layout.SETTINGS, {}),
        ("connection_event", layout.CONNECTION_EVENT, ADDRESS),
        ("conn", np.dtype((np.void, layout.CONNECTION_CONN_BYTES)), {}),
    ],
}


def questions(structures: list[Structure]) -> list[tuple[str, int]]:
    """C expressions and what Python takes them for."""
    asked: list[tuple[str, int]] = []
    for name, record, prefixes in structures:
        asked.append((f"sizeof(struct {name})", record.itemsize))
        for field in record.names or ():
            kind, offset = record.fields[field][:2]  # type: ignore[index]
            asked.append((f"offsetof(struct {name}, {prefixes.get(field, '')}{field})", offset))
            if name != "conn":  # of its response and request only the part that can be captured is read
                asked.append((f"sizeof(((struct {name} *)0)->{prefixes.get(field, '')}{field})", kind.itemsize))
    return asked


@pytest.mark.parametrize("probe", STRUCTURES)
def test_sizes_and_offsets(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := why_not():
        skip_or_fail(reason)
    asked = questions(STRUCTURES[probe])
    answers = "".join(f"    if (i == {i}) return {expression};\n" for i, (expression, _) in enumerate(asked))
    function = (
        f"int layout(struct bpf_raw_tracepoint_args *ctx)\n{{\n    u64 i = ctx->args[0];\n{answers}    return 0;\n}}\n"
    )
    text = source.inline(f"{probe}.c") + "#define offsetof(type, field) __builtin_offsetof(type, field)\n" + function
    monkeypatch.setattr(loader.source, "inline", lambda _: text)
    program = PROBES[probe](AgentSettings()).program()
    loaded = loader.Build(
        loader.Program(program.name, program.maps, (*program.runnable, "layout"), program.steps, program.defines)
    ).result()
    try:
        found = [(expression, syscall.run(loaded.programs["layout"], i)) for i, (expression, _) in enumerate(asked)]
    finally:
        loaded.close()
    assert found == asked


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("REQUEST_MAX", layout.REQUEST_MAX),
        ("RESPONSE_MAX", layout.RESPONSE_MAX),
        ("TAIL", layout.TAIL),
        ("ARRIVALS", layout.ARRIVALS),
        ("SEGMENTS", layout.SEGMENTS),
        ("SCOPE_ITEMS", layout.SCOPE_ITEMS),
        ("PROTOCOLS", layout.PROTOCOLS),
        ("QUEUE_NOT_EXACT", layout.QUEUE_NOT_EXACT),
        ("NO_IDENTITY", layout.NO_IDENTITY),
        ("SEVERAL_ARRIVALS", layout.SEVERAL_ARRIVALS),
        ("QUIET", layout.QUIET),
        ("REQUEST", layout.REQUEST),
        ("RESPONSE", layout.RESPONSE),
    ],
)
def test_constants(name: str, number: int) -> None:
    defines = [line.split() for line in source.inline("requests.c").splitlines() if line.startswith("#define")]
    assert {int(words[2]) for words in defines if words[1] == name} == {number}


@pytest.mark.parametrize(
    ("probe", "names"), [("requests", layout.REQUEST_COUNTERS), ("connections", layout.CONNECTION_COUNTERS)]
)
def test_order_of_counters(probe: str, names: tuple[str, ...]) -> None:
    body = source.inline(f"{probe}.c").partition("enum counter {")[2].partition("}")[0]
    lines = [line.partition("//")[0] for line in body.splitlines()]
    listed = [word.strip().lower() for word in " ".join(lines).split(",") if word.strip()]
    assert listed == [*names, "counters"]
