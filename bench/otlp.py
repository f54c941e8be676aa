"""The same requests as OpenTelemetry spans, for comparison: one ExportTraceServiceRequest a batch, gzip.

Every column of a row of `requests` and of its link is there, under OpenTelemetry's semantic conventions where they
have a name, else under `sonde.`; columns that are 0 or empty are left out, as an instrumentation would. Both ends of a
request share the trace id. https://opentelemetry.io/docs/specs/semconv/
"""

from __future__ import annotations

import gzip
import ipaddress
import os
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proto import sonde_pb2 as pb
from sonde import batches
from sonde.ids import exchange_ids

_SYSTEMS = {pb.MYSQL: "mysql", pb.REDIS: "redis"}


def _attribute(of: Any, key: str, value: str | int) -> None:
    if value in (0, ""):
        return
    attribute = of.attributes.add(key=key)
    if isinstance(value, str):
        attribute.value.string_value = value
    else:
        attribute.value.int_value = value


def export(batch: pb.Batch) -> ExportTraceServiceRequest:
    """The requests of `batch` as spans; other sections are left out."""
    links = batches.read("links", batch.links)
    rows = batches.read("requests", batch.requests)
    trace = exchange_ids(links["connection_id"][rows["link"].astype(int)], rows["offset"])
    out = ExportTraceServiceRequest()
    spans: dict[int, Any] = {}
    for number in range(batch.requests.rows):
        row = {name: int(column[number]) for name, column in rows.items()}
        link = {name: column[row["link"]] for name, column in links.items()}
        service = int(link["service"])
        if service not in spans:
            group = out.resource_spans.add()
            _attribute(group.resource, "service.name", batch.strings[service])
            _attribute(group.resource, "host.name", batch.host.name)
            _attribute(group.resource, "os.description", batch.host.os)
            for tag, text in batch.host.tags.items():
                _attribute(group.resource, f"host.{tag}", text)
            spans[service] = group.scope_spans.add()
            spans[service].scope.name, spans[service].scope.version = "sonde", batch.host.agent_version
        _fill(spans[service].spans.add(), row, link, int(trace[number]), batch)
    return out


def _fill(span: Any, row: dict[str, int], link: dict[str, Any], trace: int, batch: pb.Batch) -> None:
    client, text = int(link["role"]) == pb.CLIENT, batch.strings
    span.trace_id = trace.to_bytes(8, "little") * 2 if trace else os.urandom(16)
    span.span_id = os.urandom(8)
    span.kind = Span.SPAN_KIND_CLIENT if client else Span.SPAN_KIND_SERVER
    span.name = f"{text[row['operation']]} {text[row['resource']]}"
    span.start_time_unix_nano = row["start"] * 1000
    span.end_time_unix_nano = row["start"] * 1000 + row["duration"] * 100
    if row["status"] != pb.OK:
        span.status.code = Status.STATUS_CODE_ERROR
    if row["protocol"] == pb.HTTP1:
        _attribute(span, "http.request.method", text[row["operation"]])
        _attribute(span, "http.route", text[row["resource"]])
        _attribute(span, "http.response.status_code", int(text[row["status_code"]] or 0))
        _attribute(span, "http.request.size", row["request_bytes"])
        _attribute(span, "http.response.size", row["response_bytes"])
    else:
        _attribute(span, "db.system.name", _SYSTEMS[row["protocol"]])
        _attribute(span, "db.operation.name", text[row["operation"]])
        _attribute(span, "db.collection.name", text[row["resource"]])
        _attribute(span, "db.query.text", text[row["statement"]])
        _attribute(span, "sonde.request_bytes", row["request_bytes"])
        _attribute(span, "sonde.response_bytes", row["response_bytes"])
    near, far = ("client", "server") if client else ("server", "client")
    for side, end in ((near, "local"), (far, "remote")):
        ip = ipaddress.IPv6Address(bytes(link[f"{end}_ip"]))
        _attribute(span, f"{side}.address", str(ip.ipv4_mapped or ip))
        _attribute(span, f"{side}.port", int(link[f"{end}_port"]))
    _attribute(span, "process.pid", int(link["pid"]))
    for name in ("queue", "receive", "process", "transfer", "gap"):
        _attribute(span, f"sonde.{name}_ns", row[name] * 100)
    _attribute(span, "sonde.ended_by", pb.EndedBy.Name(row["ended_by"]).lower())


def compressed_bytes(batch: pb.Batch) -> int:
    """Length of the request with gzip's default level."""
    return len(gzip.compress(export(batch).SerializeToString(), 6))
