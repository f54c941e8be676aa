"""ClickHouse's HTTP interface over the embedded engine: enough for clickhouse-connect, curl, Grafana and DBeaver.

GET or POST /?query=...&database=...&param_x=...&default_format=..., the query in the URL, the body or both; /ping.
Answers carry the X-ClickHouse-* headers that clients read. A browser page of another site cannot read here: the Host
header must be an address, localhost or an allowed name (DNS rebinding), and no CORS header is ever sent.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hmac
import ipaddress
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aggregator.config import Sql
from aggregator.metrics import Metrics
from aggregator.storage.sql_engine import Engine
from aggregator.storage.sql_guard import SqlRefused
from aggregator.storage.templates import DATABASE

_TEXT = "text/plain; charset=UTF-8"
_TYPES = {
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnames": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnamesandtypes": "text/tab-separated-values; charset=UTF-8",
}
_COMPRESS_FROM_BYTES = 4096
_GZIP_LEVEL = 1

StartResponse = Callable[..., Any]


def host_is_allowed(header: str, allowed: Iterable[str]) -> bool:
    """Whether a Host header is an IP address, localhost, or one of `allowed`."""
    name = header.strip().lower()
    name = name[1 : name.index("]")] if name.startswith("[") and "]" in name else name.partition(":")[0]
    if name == "localhost" or name in {one.lower() for one in allowed}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class SqlApp:
    """The WSGI application."""

    def __init__(self, engine: Engine, settings: Sql, tokens: Mapping[str, str], metrics: Metrics) -> None:
        """`tokens`: token -> its tenant, '' for all rows; none: no token is asked for."""
        self._engine = engine
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """One request (PEP 3333)."""
        started = time.monotonic()
        query_id = str(uuid.uuid4())
        headers = {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Server-Display-Name": "sonde",
            "X-ClickHouse-Timezone": "UTC",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        try:
            status, body = self._answer(environ, headers)
            outcome = "ok"
        except SqlRefused as refused:
            status, body, outcome = refused.status, f"{refused}\n".encode(), "refused"
            headers |= {"X-ClickHouse-Exception-Code": str(refused.code), "Content-Type": _TEXT}
            if refused.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="sonde"'
        if (environ["PATH_INFO"] == "/" and headers.get("X-ClickHouse-Format")) or outcome == "refused":
            self._metrics.queries.labels(outcome).inc()
            self._metrics.query_seconds.observe(time.monotonic() - started)
        headers["Content-Length"] = str(len(body))
        start_response(f"{status} {_REASONS.get(status, 'Error')}", list(headers.items()))
        return [body]

    def _answer(self, environ: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        if not host_is_allowed(environ.get("HTTP_HOST", ""), self._settings.allowed_hosts):
            raise SqlRefused(516, "AUTHENTICATION_FAILED", "Host header is not allowed; see sql.allowed_hosts", 403)
        headers["Content-Type"] = _TEXT
        if environ["PATH_INFO"] in ("/ping", "/replicas_status"):
            return 200, b"Ok.\n"
        if environ["PATH_INFO"] != "/":
            return 404, b"There is no such page; queries go to /\n"
        if environ["REQUEST_METHOD"] not in ("GET", "POST", "HEAD"):
            raise SqlRefused(36, "BAD_ARGUMENTS", "Use GET or POST", 405)
        url = _decoded(environ.get("QUERY_STRING", ""))
        tenant = self._authenticate(environ, url)
        text = "\n".join(part for part in (url.get("query", ""), _body(environ)) if part.strip())
        if not text:
            return 200, b"Ok.\n"
        query = self._engine.guard.check(text)
        form = url.get("default_format") or environ.get("HTTP_X_CLICKHOUSE_FORMAT") or "TabSeparated"
        database = url.get("database") or environ.get("HTTP_X_CLICKHOUSE_DATABASE") or DATABASE
        parameters = {name[6:]: value for name, value in url.items() if name.startswith("param_")}
        result = self._engine.run(query, form, database, url, parameters, tenant)
        form = query.format or form
        summary = {
            "read_rows": str(result.rows_read),
            "read_bytes": str(result.bytes_read),
            "elapsed_ns": str(int(result.seconds * 1e9)),
        }
        headers |= {
            "X-ClickHouse-Format": form,
            "X-ClickHouse-Summary": json.dumps(summary),
            "Content-Type": _TYPES.get(
                form.lower(), _TEXT if form.lower().startswith("pretty") else "application/octet-stream"
            ),
        }
        return 200, self._compressed(environ, url, result.body, headers)

    def _compressed(self, environ: dict[str, Any], url: dict[str, str], body: bytes, headers: dict[str, str]) -> bytes:
        accepted = environ.get("HTTP_ACCEPT_ENCODING", "")
        wanted = url.get("enable_http_compression") == "1" and "gzip" in accepted
        if not wanted or len(body) < _COMPRESS_FROM_BYTES:
            return body
        headers["Content-Encoding"] = "gzip"
        return gzip.compress(body, _GZIP_LEVEL)

    def _authenticate(self, environ: dict[str, Any], url: dict[str, str]) -> str:
        """Tenant of the token that came, '' for all rows; raises SqlRefused."""
        if not self._tokens:
            return ""
        given = [environ.get("HTTP_X_CLICKHOUSE_KEY", ""), url.get("password", "")]
        kind, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() == "bearer":
            given.append(value.strip())
        elif kind.lower() == "basic":
            try:
                given.append(base64.b64decode(value, validate=True).decode().partition(":")[2])
            except (binascii.Error, UnicodeDecodeError):
                given.append("")
        found = [
            tenant
            for token, tenant in self._tokens.items()
            for one in given
            if hmac.compare_digest(one.encode(), token.encode())
        ]
        if not found:
            raise SqlRefused(516, "AUTHENTICATION_FAILED", "The token of sql.token_file is asked for, as password", 401)
        return found[0]


def _decoded(query_string: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query_string, keep_blank_values=True, errors="strict", max_num_fields=500))
    except ValueError:
        raise SqlRefused(36, "BAD_ARGUMENTS", "The URL's parameters cannot be read", 400) from None


def _body(environ: dict[str, Any]) -> str:
    if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise SqlRefused(48, "NOT_IMPLEMENTED", "Send the query uncompressed", 415)
    if environ.get("CONTENT_TYPE", "").startswith("multipart/"):
        raise SqlRefused(48, "NOT_IMPLEMENTED", "External data is not taken; send the query as the body", 415)
    try:
        return str(environ["wsgi.input"].read().decode())
    except UnicodeDecodeError:
        raise SqlRefused(62, "SYNTAX_ERROR", "The query is not UTF-8", 400) from None


_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
            405: "Method Not Allowed", 408: "Request Timeout", 415: "Unsupported Media Type",
            500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip
