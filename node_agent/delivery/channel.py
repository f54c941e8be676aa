"""Makes the gRPC channel to one aggregator; the only place that knows how.

Invariants: a channel has connections of its own, so that closing one and opening another begins from nothing, without
the waiting times of the one before; no proxy of the environment is used.
"""

from __future__ import annotations

import grpc

from node_agent.config import AgentSettings

_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # this stream is begun again by stream.py alone
    ("grpc.max_send_message_length", -1),  # Welcome.max_batch_bytes is the limit
]


def open_channel(settings: AgentSettings, address: str) -> grpc.Channel:
    """A channel to the aggregator at `address`, one of `settings.aggregator`; connects with the first call."""
    options = [
        *_OPTIONS,
        ("grpc.keepalive_time_ms", int(settings.delivery.keepalive_seconds * 1e3)),
        ("grpc.keepalive_timeout_ms", int(settings.delivery.keepalive_timeout_seconds * 1e3)),
        ("grpc.http2.max_pings_without_data", 0),  # also on a stream that has nothing to say
    ]
    return grpc.insecure_channel(address, options=options)
