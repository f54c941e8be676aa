"""CPU per record: our ring reader against BCC's callback. The same ring, filled by the same program, read in turns.

python -m bench.ring [records]      prints one JSON object; a process of its own, since BCC brings LLVM
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import sys
import time

from node_agent.kernel import compiler, headers, layout, syscall
from node_agent.kernel.ring import Ring

_ROUNDS, _PER_RUN = 50, 64
_PAGES = 4096
_RECORD = layout.TURNS["small_turns"]

_TEXT = """
struct record { u8 bytes[RECORD_BYTES]; };
BPF_RINGBUF_OUTPUT(records, RING_PAGES);

int produce(struct bpf_raw_tracepoint_args *ctx)
{
    for (int i = 0; i < PER_RUN; i++) {
        struct record *record = records.ringbuf_reserve(sizeof(struct record));
        if (!record)
            return 0;
        record->bytes[0] = i;
        records.ringbuf_submit(record, 1 /* BPF_RB_NO_WAKEUP */);
    }
    return 0;
}
"""


def _structure() -> type[ctypes.Structure]:
    """The record's first part as BCC would make it from C: what its examples cast to."""
    kinds = {8: ctypes.c_uint64, 4: ctypes.c_uint32, 2: ctypes.c_uint16, 1: ctypes.c_uint8}

    class Turn(ctypes.Structure):
        _pack_ = 1
        _fields_ = [
            (name, kinds.get(kind.itemsize) or ctypes.c_uint8 * kind.itemsize)
            for name, (kind, *_) in sorted((layout.TURN.fields or {}).items(), key=lambda item: item[1][1])
        ]

    return Turn


def main() -> None:
    """Fill, drain, and print."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    tree = headers.tree()
    if tree:
        os.environ["BCC_KERNEL_SOURCE"] = str(tree)
    bcc = compiler._import_bcc()
    size = _PAGES * os.sysconf("SC_PAGE_SIZE")
    wanted = min(wanted, size // (_RECORD.itemsize + 16)) // _PER_RUN * _PER_RUN
    flags = [f"-DRECORD_BYTES={_RECORD.itemsize}", f"-DRING_PAGES={_PAGES}", f"-DPER_RUN={_PER_RUN}"]
    program = bcc.BPF(text=_TEXT, cflags=["-Wno-macro-redefined", *flags])
    produce = program.load_func("produce", bcc.BPF.RAW_TRACEPOINT)
    ring = Ring(program["records"].map_fd, size, _RECORD)
    seen = [0]

    structure = _structure()

    def count(_context: int, _data: int, _size: int) -> int:
        seen[0] += 1
        return 0

    def copy(_context: int, data: int, size: int) -> int:
        ctypes.string_at(data, size)
        seen[0] += 1
        return 0

    def parse(_context: int, data: int, _size: int) -> int:
        seen[0] += ctypes.cast(data, ctypes.POINTER(structure)).contents.pid == 0
        return 0

    def fill() -> None:
        for _ in range(wanted // _PER_RUN):
            syscall.run(produce.fd, 0)

    def ours() -> int:
        read = 0
        while ring.waiting:
            read += len(ring.read())
        return read

    def callback() -> int:
        seen[0] = 0
        program.ring_buffer_consume()
        return seen[0]

    figures: dict[str, list[float]] = {}
    for handler in (parse, copy, count):
        program._ringbuf_manager = None
        program["records"].open_ring_buffer(handler)
        for _ in range(_ROUNDS):
            for name, drain in (("ours", ours), (f"bcc_{handler.__name__}", callback)):
                fill()
                begin = time.process_time_ns()
                read = drain()
                figures.setdefault(name, []).append((time.process_time_ns() - begin) / wanted)
                if read != wanted:
                    raise SystemExit(f"{name} read {read} of {wanted} records")
    print(json.dumps({"records": wanted, "bytes": _RECORD.itemsize}
                     | {name: statistics.median(values) for name, values in figures.items()}))  # fmt: skip


if __name__ == "__main__":
    main()
