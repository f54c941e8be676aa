"""Makes the gRPC channel to one aggregator; the only place that knows how.

Invariants: a channel has connections of its own, so that closing one and opening another begins from nothing, without
the waiting times of the one before; no proxy of the environment is used; nothing leaves this host in plain text
unless `insecure` says so.
"""

from __future__ import annotations

import ipaddress

import grpc

from node_agent.config import AgentSettings
from sonde.errors import CertificateError, UsageError
from sonde.tls import TlsFiles

_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # this stream is begun again by stream.py alone
    ("grpc.max_send_message_length", -1),  # Welcome.max_batch_bytes is the limit
]


def tls_files(settings: AgentSettings) -> TlsFiles | None:
    """The files of `tls`; None where batches travel in plain text.

    Raises:
        UsageError: plain text would leave this host, and `insecure` is not set.
    """
    if settings.tls.on:
        return TlsFiles(settings.tls)
    for address in settings.aggregator:
        if not settings.insecure and not _is_local(address):
            raise UsageError(
                f"aggregator {address} is another host: set tls.certificate, tls.key and tls.ca (`sonde ca` makes "
                "them), or accept plain text with --insecure"
            )
    return None


def _is_local(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_channel(settings: AgentSettings, address: str, files: TlsFiles | None) -> grpc.Channel:
    """A channel to the aggregator at `address`, one of `settings.aggregator`; connects with the first call.

    Raises:
        CertificateError: the files of `tls_files` cannot be used as they are now.
    """
    timeout_ms = int(settings.delivery.keepalive_timeout_seconds * 1e3)
    options: list[tuple[str, int | str]] = [
        *_OPTIONS,
        ("grpc.keepalive_time_ms", int(settings.delivery.keepalive_seconds * 1e3)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),  # else a minute, whatever the line above says (gRPC 1.85)
        ("grpc.http2.max_pings_without_data", 0),  # also on a stream that has nothing to say
    ]
    if files is None:
        return grpc.insecure_channel(address, options=options)
    loaded = files.load()
    name = loaded.identity.name
    if name != settings.name:
        raise CertificateError(
            f"certificate {settings.tls.certificate} is for {name}, this agent is {settings.name}: issue another, "
            f"or set host_name: {name}"
        )
    if settings.tls.server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    credentials = grpc.ssl_channel_credentials(loaded.ca, loaded.key, loaded.certificate)
    return grpc.secure_channel(address, credentials, options=options)


#: What gRPC says about a connection that TLS refused -> what it means here.
_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "tls.ca does not vouch for the aggregator's certificate, or that has expired",
    "Hostname Verification": "its certificate has other names: issue one with --host, or set tls.server_name",
    "WRONG_VERSION_NUMBER": "the aggregator speaks plain text: set its grpc.tls",
    "Socket closed": "the aggregator may not accept this agent's certificate: of another authority, or expired",
}


def tls_hint(said: str) -> str:
    """What to do about gRPC's message on a connection with TLS; empty if it is about something else."""
    return next((f" ({hint})" for sign, hint in _HINTS.items() if sign in said), "")
