"""`python -m tests.chaos.agent JSON`: an agent without its probes. Real encoder, real spool, real stream.

Seals a numbered batch every `interval_s` until SIGTERM, then waits for the acknowledgements and ends; not `sealing`, it
sends what it finds in its spool and ends. What it does is
in a file of acts; what was acknowledged, as sent, in another, so that it can be sent again.
"""

from __future__ import annotations

from tests.chaos import clock

clock.install()  # before the spool takes time.time for its default

import argparse  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import zstandard  # noqa: E402

from node_agent.config import AgentSettings  # noqa: E402
from node_agent.delivery import spool as spool_module  # noqa: E402
from node_agent.delivery import stream as stream_module  # noqa: E402
from node_agent.delivery.spool import Spool  # noqa: E402
from node_agent.delivery.stream import Delivery  # noqa: E402
from proto import sonde_pb2 as pb  # noqa: E402
from tests.chaos import acts, dying, lifetime, numbered  # noqa: E402

#: Batches after which the interval has doubled: a run that takes long has not that many more rows.
_SLOWER_AFTER = 40
#: Waits that suit a run of seconds; the keepalive is shorter than a half-open connection can be.
_DELIVERY = {
    "keepalive_seconds": 6.0, "keepalive_timeout_seconds": 1.0, "connect_seconds": 4.0, "answer_seconds": 15.0,
    "retry_seconds": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How one life of an agent goes."""

    agent: int
    target: str
    spool: str
    acts: str
    sent: str
    interval_s: float
    drain_s: float
    refusing: bool = False
    max_bytes: int = 1 << 30
    sealing: bool = True
    die: str = ""
    die_calls: int = 0

    def argument(self) -> str:
        """As the program takes it."""
        return json.dumps(asdict(self))

    def settings(self) -> AgentSettings:
        """As the real agent's."""
        return AgentSettings.model_validate(
            {
                "host_name": numbered.name_of(self.agent), "aggregator": [self.target],
                "spool": {"path": self.spool}, "delivery": _DELIVERY,
            }
        )  # fmt: skip


class RecordedSpool(Spool):
    """The real one, which says what it is told."""

    def __init__(self, options: Options) -> None:
        self._acts = acts.Recorder(Path(options.acts))
        self._sent_file = os.open(options.sent, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._on_the_wire: dict[int, tuple[int, bytes]] = {}
        self._seen_lost = 0
        self._acts.write("start")
        super().__init__(numbered.name_of(options.agent), options.max_bytes, options.spool)

    @property
    def dropped(self) -> int:  # type: ignore[override]
        return self._seen_lost

    @dropped.setter
    def dropped(self, value: int) -> None:
        if value != self._seen_lost:
            self._acts.write("lose", value - self._seen_lost)
        self._seen_lost = value

    def intend(self, number: int, base_us: int) -> None:
        self._acts.write("intend", number, base_us)

    def sealed(self, number: int) -> None:
        self._acts.write("seal", number)

    def after(self, sequence: int, timeout: float) -> pb.SealedBatch | None:
        batch = super().after(sequence, timeout)
        if batch is not None:
            plain = pb.Batch.FromString(zstandard.decompress(batch.content))
            number = next(int(text[1:]) for text in plain.strings if text[:1] == "/")
            self._on_the_wire[batch.sequence] = number, batch.SerializeToString()
        return batch

    def acknowledge(self, sequence: int) -> None:
        if sequence in self._on_the_wire:
            number, sealed = self._on_the_wire.pop(sequence)
            os.write(self._sent_file, len(sealed).to_bytes(4, "little") + sealed)
            self._acts.write("acknowledge", number)
        before = self.acknowledged
        super().acknowledge(sequence)
        if self.acknowledged == before:
            self._acts.write("late", sequence)

    def refuse(self, sequence: int, code: str = "", message: str = "") -> None:
        if sequence in self._on_the_wire:
            self._acts.write("refuse", self._on_the_wire.pop(sequence)[0])
        before = self.refused
        super().refuse(sequence, code, message)
        if self.refused == before:
            self._acts.write("late", sequence)

    def end(self) -> None:
        self._acts.write("end", self.waiting)


def hurry() -> None:
    """Waits that suit a fleet are too long for a run of seconds."""
    for module, name, value in (
        (spool_module, "_FIRST_RETRY_SECONDS", 0.5),
        (spool_module, "_LONGEST_RETRY_SECONDS", 2.0),
        (stream_module, "_FIRST_HOLD_SECONDS", 0.5),
        (stream_module, "_LONGEST_HOLD_SECONDS", 2.0),
    ):
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__}.{name} is gone: tests/chaos/agent.py has to follow")
        setattr(module, name, value)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("options", type=lambda text: Options(**json.loads(text)))
    options: Options = parser.parse_args().options
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lifetime.end_with_parent(signal.SIGKILL)
    hurry()
    if options.die:
        dying.arm(dying.AGENT, options.die, options.die_calls)
    before = acts.read(Path(options.acts))
    number = max(before.intended, default=0)
    spool = RecordedSpool(options)
    delivery = Delivery(options.settings(), spool)
    delivery.start()
    while options.sealing and not stop.is_set():
        number += 1
        base_us = time.time_ns() // 1000
        spool.intend(number, base_us)
        spool.seal(numbered.encode(options.agent, number, base_us, options.refusing))
        spool.sealed(number)
        stop.wait(options.interval_s * (1 + number / _SLOWER_AFTER))
    delivery.close(options.drain_s)
    spool.end()
    spool.close()


if __name__ == "__main__":
    main()
