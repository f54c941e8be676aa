"""One request, split into where its time went.

With both ends (DESIGN.md section 3 and the view `exchanges`): network + the server's queue, receive and process
+ the wait of the answer at the client + the client's transfer = the client's duration, exactly. With one end
only its own four parts are known, and the client's middle part stays whole: network and server together.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.source import Row


@dataclass(frozen=True)
class Part:
    """A stretch of a request."""

    #: Key of palette.PART.
    kind: str
    name: str
    ns: int
    meaning: str


@dataclass(frozen=True)
class Split:
    """The parts of one request in their order, and what stands before it."""

    parts: tuple[Part, ...]
    total_ns: int
    #: The client's own pause before the request; None when its end was not seen.
    gap_ns: int | None
    note: str

    @property
    def largest(self) -> Part:
        """Where most of the time went."""
        return max(self.parts, key=lambda part: part.ns)


_MEANING = {
    "network": "first byte on its way to the server, plus first byte of the answer on its way back",
    "queue": "the request lay in the server's socket: its process was busy",
    "receive": "the server took in the rest of a long request",
    "process": "the server worked",
    "answer": "the answer lay in the client's socket: its process did not come",
    "transfer": "the answer's first to last byte",
    "sending": "the client wrote a long request",
    "away": "network and server together: only the client's end was seen",
}


def split(row: Row) -> Split:
    """The split of a row of queries/slow.sql."""
    if row["joined"] and row["network_ns"] is not None:
        parts: tuple[Part, ...] = (
            Part("network", "network", row["network_ns"], _MEANING["network"]),
            Part("queue", "server queue", row["server_queue_ns"], _MEANING["queue"]),
            Part("receive", "server receive", row["server_receive_ns"], _MEANING["receive"]),
            Part("process", "server process", row["server_process_ns"], _MEANING["process"]),
            Part("answer", "client late: answer waited", row["client_queue_ns"], _MEANING["answer"]),
            Part("transfer", "transfer", row["client_transfer_ns"], _MEANING["transfer"]),
        )
        note = "Both ends were seen."
        if not row["server_queue_exact"]:
            note += " The server's queue is a lower bound: the arrival was overwritten by later ones."
        return Split(parts, row["client_duration_ns"], row["client_gap_ns"], note)
    if row["role"] == "client":
        parts = (
            Part("receive", "sending", row["receive_ns"], _MEANING["sending"]),
            Part("away", "away", row["process_ns"], _MEANING["away"]),
            Part("answer", "client late: answer waited", row["queue_ns"], _MEANING["answer"]),
            Part("transfer", "transfer", row["transfer_ns"], _MEANING["transfer"]),
        )
        note = "No answer came." if row["status"] == "no_response" else "Only the client's end is in the store."
        return Split(parts, row["duration_ns"], row["gap_ns"], note)
    parts = (
        Part("queue", "server queue", row["queue_ns"], _MEANING["queue"]),
        Part("receive", "server receive", row["receive_ns"], _MEANING["receive"]),
        Part("process", "server process", row["process_ns"], _MEANING["process"]),
        Part("transfer", "transfer", row["transfer_ns"], _MEANING["transfer"]),
    )
    note = "Only the server's end is in the store: the network and the client are not known."
    if not row["queue_exact"]:
        note += " The queue is a lower bound: the arrival was overwritten by later ones."
    return Split(parts, row["duration_ns"], None, note)


@dataclass(frozen=True)
class Ends:
    """Who asked whom, as text; "" where it is not known."""

    client_host: str
    client_service: str
    server_host: str
    server_service: str


def ends(row: Row) -> Ends:
    """Both ends of a row of queries/slow.sql; the unseen one is what the seen one knows of its peer."""
    if row["joined"]:
        return Ends(row["client_host"], row["client_service"], row["server_host"], row["server_service"])
    if row["role"] == "client":
        return Ends(row["host"], row["service"], row["remote_host"], row["remote_service"])
    return Ends(row["remote_host"], row["remote_service"], row["host"], row["service"])
