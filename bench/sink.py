"""An aggregator that acknowledges every batch and keeps nothing, so that only the agent's cost is measured.

python -m bench.sink PORT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

from proto import sonde_pb2 as pb
from proto import sonde_pb2_grpc as rpc
from sonde import WIRE_VERSION


class Sink(rpc.IngestServicer):
    """See the module."""

    def Deliver(self, messages: Iterator[pb.AgentMessage], _context: Any) -> Iterator[pb.AggregatorMessage]:  # noqa: N802
        """Acknowledge."""
        for message in messages:
            if message.WhichOneof("message") == "hello":
                yield pb.AggregatorMessage(welcome=pb.Welcome(wire_version=WIRE_VERSION, max_batch_bytes=64 << 20))
            else:
                batch = message.batch
                yield pb.AggregatorMessage(ack=pb.Ack(spool_id=batch.spool_id, sequence=batch.sequence))


def main() -> None:
    """Serve until killed."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 64 << 20)])
    rpc.add_IngestServicer_to_server(Sink(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
