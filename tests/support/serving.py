"""A server of a few lines, in a thread of the test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from proto import sonde_pb2 as pb
from tests.support.agent import Rows
from tests.targets.netns import Namespace


@contextlib.contextmanager
def serving(host: Namespace, serve: Callable[[socket.socket], None], port: int = 8100) -> Iterator[int]:
    """A server in a thread of this process that handles one connection after the other."""
    listener = host.tcp()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.address, port))
    listener.listen(8)
    listener.settimeout(20)

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with link, contextlib.suppress(OSError):
                    serve(link)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def ends(rows: Rows) -> tuple[dict[str, object], dict[str, object]]:
    return rows.one(role=pb.CLIENT), rows.one(role=pb.SERVER)
