"""Which settings a client of the SQL port may send, and within which bounds.

Three kinds: allowed ones, clamped to the port's own limits; those that only concern the transport, which are ignored;
everything else, which is refused by name. `readonly` may be repeated but not lowered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from aggregator.config import Sql
from aggregator.storage.sql_guard import READONLY, SETTING_NOT_ALLOWED, SqlRefused

#: Parameters of the HTTP interface itself.
TRANSPORT = frozenset(
    {
        "add_http_cors_header", "buffer_size",
        "cancel_http_readonly_queries_on_client_close", "client_protocol_version",
        "compress", "database", "decompress", "default_format", "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_zlib_compression_level", "password", "query", "query_id", "quota_key", "role",
        "send_progress_in_http_headers",
        "session_check", "session_id", "session_timeout", "user", "wait_end_of_query",
    }
)  # fmt: skip

#: Any value of the given form.
_FREE = {
    "extremes": re.compile(r"[01]"),
    "final": re.compile(r"[01]"),
    "group_by_use_nulls": re.compile(r"[01]"),
    "join_use_nulls": re.compile(r"[01]"),
    "limit": re.compile(r"\d{1,18}"),
    "max_block_size": re.compile(r"[1-9]\d{0,5}"),
    "max_result_rows": re.compile(r"\d{1,18}"),
    "offset": re.compile(r"\d{1,18}"),
    "prefer_column_name_to_alias": re.compile(r"[01]"),
    "result_overflow_mode": re.compile(r"throw|break"),
    "session_timezone": re.compile(r"[A-Za-z0-9_+\-/]{0,40}"),
}
_OUTPUT = re.compile(r"(output_format_[a-z0-9_]{1,80}|date_time_output_format|format_csv_delimiter)")
_OUTPUT_VALUE = re.compile(r"[ -~]{0,40}")
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,9})?")


def effective(sent: Mapping[str, str], limits: Sql) -> dict[str, str]:
    """Settings of one query: the port's limits with what the client may change.

    Raises:
        SqlRefused: a setting is not on the allow-list or its value is out of form.
    """
    caps = {
        "max_execution_time": limits.max_seconds,
        "max_memory_usage": limits.max_memory_bytes,
        "max_result_bytes": limits.max_result_bytes,
        "max_threads": limits.max_threads,
    }
    settings = {name: f"{cap:g}" if isinstance(cap, float) else str(cap) for name, cap in caps.items()}
    settings |= {"result_overflow_mode": "throw", "timeout_overflow_mode": "throw"}
    for name, value in sent.items():
        if name in TRANSPORT or name.startswith("param_"):
            continue
        if name == "readonly":
            if value not in ("1", "2"):
                raise SqlRefused(READONLY, "READONLY", "Cannot modify 'readonly' setting in readonly mode", 403)
        elif name in caps:
            if not _NUMBER.fullmatch(value):
                raise _refused(f"Value of {name} must be a number")
            asked = float(value)
            if 0 < asked < caps[name]:
                settings[name] = value
        elif name in _FREE or _OUTPUT.fullmatch(name):
            if not _FREE.get(name, _OUTPUT_VALUE).fullmatch(value):
                raise _refused(f"Value of {name} is not allowed here")
            settings[name] = value
        else:
            raise _refused(f"Setting {name[:80]} is not on the allow-list of this port")
    return settings


def _refused(message: str) -> SqlRefused:
    return SqlRefused(SETTING_NOT_ALLOWED, "SETTING_CONSTRAINT_VIOLATION", message, 403)
