from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    CLIENT: _ClassVar[Role]
    SERVER: _ClassVar[Role]

class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROTOCOL_UNSPECIFIED: _ClassVar[Protocol]
    HTTP1: _ClassVar[Protocol]
    MYSQL: _ClassVar[Protocol]
    REDIS: _ClassVar[Protocol]

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    OK: _ClassVar[Status]
    CLIENT_ERROR: _ClassVar[Status]
    SERVER_ERROR: _ClassVar[Status]
    NO_RESPONSE: _ClassVar[Status]
    ONE_WAY: _ClassVar[Status]

class EndedBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDED_BY_UNSPECIFIED: _ClassVar[EndedBy]
    FRAMING: _ClassVar[EndedBy]
    NEXT_REQUEST: _ClassVar[EndedBy]
    CLOSE: _ClassVar[EndedBy]
    IDLE: _ClassVar[EndedBy]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OPEN: _ClassVar[Outcome]
    CLOSED: _ClassVar[Outcome]
    REFUSED: _ClassVar[Outcome]
    RESET: _ClassVar[Outcome]
    TIMEOUT: _ClassVar[Outcome]
    UNREACHABLE: _ClassVar[Outcome]
ROLE_UNSPECIFIED: Role
CLIENT: Role
SERVER: Role
PROTOCOL_UNSPECIFIED: Protocol
HTTP1: Protocol
MYSQL: Protocol
REDIS: Protocol
STATUS_UNSPECIFIED: Status
OK: Status
CLIENT_ERROR: Status
SERVER_ERROR: Status
NO_RESPONSE: Status
ONE_WAY: Status
ENDED_BY_UNSPECIFIED: EndedBy
FRAMING: EndedBy
NEXT_REQUEST: EndedBy
CLOSE: EndedBy
IDLE: EndedBy
OUTCOME_UNSPECIFIED: Outcome
OPEN: Outcome
CLOSED: Outcome
REFUSED: Outcome
RESET: Outcome
TIMEOUT: Outcome
UNREACHABLE: Outcome

class AgentMessage(_message.Message):
    __slots__ = ("hello", "batch")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    batch: SealedBatch
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., batch: _Optional[_Union[SealedBatch, _Mapping]] = ...) -> None: ...

class AggregatorMessage(_message.Message):
    __slots__ = ("welcome", "ack", "refusal", "wanted")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: Ack
    refusal: Refusal
    wanted: Wanted
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., wanted: _Optional[_Union[Wanted, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("wire_version", "agent", "agent_version", "spool_id")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    agent: str
    agent_version: str
    spool_id: bytes
    def __init__(self, wire_version: _Optional[int] = ..., agent: _Optional[str] = ..., agent_version: _Optional[str] = ..., spool_id: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("wire_version", "aggregator_version", "max_batch_bytes")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGGREGATOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    aggregator_version: str
    max_batch_bytes: int
    def __init__(self, wire_version: _Optional[int] = ..., aggregator_version: _Optional[str] = ..., max_batch_bytes: _Optional[int] = ...) -> None: ...

class SealedBatch(_message.Message):
    __slots__ = ("wire_version", "agent", "spool_id", "sequence", "content", "content_bytes", "checksum")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    agent: str
    spool_id: bytes
    sequence: int
    content: bytes
    content_bytes: int
    checksum: int
    def __init__(self, wire_version: _Optional[int] = ..., agent: _Optional[str] = ..., spool_id: _Optional[bytes] = ..., sequence: _Optional[int] = ..., content: _Optional[bytes] = ..., content_bytes: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("spool_id", "sequence")
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    spool_id: bytes
    sequence: int
    def __init__(self, spool_id: _Optional[bytes] = ..., sequence: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("spool_id", "sequence", "code", "message", "retryable", "retry_after_ms")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Refusal.Code]
        WRONG_VERSION: _ClassVar[Refusal.Code]
        TOO_LARGE: _ClassVar[Refusal.Code]
        BAD_CHECKSUM: _ClassVar[Refusal.Code]
        MALFORMED: _ClassVar[Refusal.Code]
        BAD_COLUMNS: _ClassVar[Refusal.Code]
        CHANGED_CONTENT: _ClassVar[Refusal.Code]
        NO_HELLO: _ClassVar[Refusal.Code]
        OVERLOADED: _ClassVar[Refusal.Code]
        RATE_LIMITED: _ClassVar[Refusal.Code]
        WRONG_CERTIFICATE: _ClassVar[Refusal.Code]
    UNSPECIFIED: Refusal.Code
    WRONG_VERSION: Refusal.Code
    TOO_LARGE: Refusal.Code
    BAD_CHECKSUM: Refusal.Code
    MALFORMED: Refusal.Code
    BAD_COLUMNS: Refusal.Code
    CHANGED_CONTENT: Refusal.Code
    NO_HELLO: Refusal.Code
    OVERLOADED: Refusal.Code
    RATE_LIMITED: Refusal.Code
    WRONG_CERTIFICATE: Refusal.Code
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    spool_id: bytes
    sequence: int
    code: Refusal.Code
    message: str
    retryable: bool
    retry_after_ms: int
    def __init__(self, spool_id: _Optional[bytes] = ..., sequence: _Optional[int] = ..., code: _Optional[_Union[Refusal.Code, str]] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ("exchange_ids",)
    EXCHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    exchange_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, exchange_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("host", "strings", "links", "requests", "connections", "endpoints", "statements", "in_flight", "agent_stats", "unsampled")
    HOST_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    AGENT_STATS_FIELD_NUMBER: _ClassVar[int]
    UNSAMPLED_FIELD_NUMBER: _ClassVar[int]
    host: Host
    strings: _containers.RepeatedScalarFieldContainer[str]
    links: Links
    requests: Requests
    connections: Connections
    endpoints: Endpoints
    statements: Statements
    in_flight: InFlight
    agent_stats: AgentStats
    unsampled: Unsampled
    def __init__(self, host: _Optional[_Union[Host, _Mapping]] = ..., strings: _Optional[_Iterable[str]] = ..., links: _Optional[_Union[Links, _Mapping]] = ..., requests: _Optional[_Union[Requests, _Mapping]] = ..., connections: _Optional[_Union[Connections, _Mapping]] = ..., endpoints: _Optional[_Union[Endpoints, _Mapping]] = ..., statements: _Optional[_Union[Statements, _Mapping]] = ..., in_flight: _Optional[_Union[InFlight, _Mapping]] = ..., agent_stats: _Optional[_Union[AgentStats, _Mapping]] = ..., unsampled: _Optional[_Union[Unsampled, _Mapping]] = ...) -> None: ...

class Host(_message.Message):
    __slots__ = ("name", "kernel", "os", "addresses", "agent_version", "tags", "seen_us", "started_us", "replay")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SEEN_US_FIELD_NUMBER: _ClassVar[int]
    STARTED_US_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    name: str
    kernel: str
    os: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    agent_version: str
    tags: _containers.ScalarMap[str, str]
    seen_us: int
    started_us: int
    replay: bool
    def __init__(self, name: _Optional[str] = ..., kernel: _Optional[str] = ..., os: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., agent_version: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., seen_us: _Optional[int] = ..., started_us: _Optional[int] = ..., replay: _Optional[bool] = ...) -> None: ...

class Links(_message.Message):
    __slots__ = ("rows", "role", "pid", "service", "comm", "local_ip", "local_port", "remote_ip", "remote_port", "connection_id")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    COMM_FIELD_NUMBER: _ClassVar[int]
    LOCAL_IP_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PORT_FIELD_NUMBER: _ClassVar[int]
    REMOTE_IP_FIELD_NUMBER: _ClassVar[int]
    REMOTE_PORT_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    rows: int
    role: bytes
    pid: bytes
    service: bytes
    comm: bytes
    local_ip: bytes
    local_port: bytes
    remote_ip: bytes
    remote_port: bytes
    connection_id: bytes
    def __init__(self, rows: _Optional[int] = ..., role: _Optional[bytes] = ..., pid: _Optional[bytes] = ..., service: _Optional[bytes] = ..., comm: _Optional[bytes] = ..., local_ip: _Optional[bytes] = ..., local_port: _Optional[bytes] = ..., remote_ip: _Optional[bytes] = ..., remote_port: _Optional[bytes] = ..., connection_id: _Optional[bytes] = ...) -> None: ...

class Requests(_message.Message):
    __slots__ = ("rows", "link", "protocol", "operation", "resource", "statement_id", "statement", "status", "status_code", "start", "duration", "queue", "receive", "process", "transfer", "gap", "request_bytes", "response_bytes", "ended_by", "offset", "weight", "flags")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    link: bytes
    protocol: bytes
    operation: bytes
    resource: bytes
    statement_id: bytes
    statement: bytes
    status: bytes
    status_code: bytes
    start: bytes
    duration: bytes
    queue: bytes
    receive: bytes
    process: bytes
    transfer: bytes
    gap: bytes
    request_bytes: bytes
    response_bytes: bytes
    ended_by: bytes
    offset: bytes
    weight: bytes
    flags: bytes
    def __init__(self, rows: _Optional[int] = ..., link: _Optional[bytes] = ..., protocol: _Optional[bytes] = ..., operation: _Optional[bytes] = ..., resource: _Optional[bytes] = ..., statement_id: _Optional[bytes] = ..., statement: _Optional[bytes] = ..., status: _Optional[bytes] = ..., status_code: _Optional[bytes] = ..., start: _Optional[bytes] = ..., duration: _Optional[bytes] = ..., queue: _Optional[bytes] = ..., receive: _Optional[bytes] = ..., process: _Optional[bytes] = ..., transfer: _Optional[bytes] = ..., gap: _Optional[bytes] = ..., request_bytes: _Optional[bytes] = ..., response_bytes: _Optional[bytes] = ..., ended_by: _Optional[bytes] = ..., offset: _Optional[bytes] = ..., weight: _Optional[bytes] = ..., flags: _Optional[bytes] = ...) -> None: ...

class Unsampled(_message.Message):
    __slots__ = ("rows", "link", "protocol", "operation", "resource", "statement_id", "status", "time", "requests", "request_bytes", "response_bytes", "duration", "queue", "receive", "process", "transfer", "duration_sketch", "queue_sketch", "process_sketch", "transfer_sketch")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    DURATION_SKETCH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SKETCH_FIELD_NUMBER: _ClassVar[int]
    PROCESS_SKETCH_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_SKETCH_FIELD_NUMBER: _ClassVar[int]
    rows: int
    link: bytes
    protocol: bytes
    operation: bytes
    resource: bytes
    statement_id: bytes
    status: bytes
    time: bytes
    requests: bytes
    request_bytes: bytes
    response_bytes: bytes
    duration: bytes
    queue: bytes
    receive: bytes
    process: bytes
    transfer: bytes
    duration_sketch: Sketch
    queue_sketch: Sketch
    process_sketch: Sketch
    transfer_sketch: Sketch
    def __init__(self, rows: _Optional[int] = ..., link: _Optional[bytes] = ..., protocol: _Optional[bytes] = ..., operation: _Optional[bytes] = ..., resource: _Optional[bytes] = ..., statement_id: _Optional[bytes] = ..., status: _Optional[bytes] = ..., time: _Optional[bytes] = ..., requests: _Optional[bytes] = ..., request_bytes: _Optional[bytes] = ..., response_bytes: _Optional[bytes] = ..., duration: _Optional[bytes] = ..., queue: _Optional[bytes] = ..., receive: _Optional[bytes] = ..., process: _Optional[bytes] = ..., transfer: _Optional[bytes] = ..., duration_sketch: _Optional[_Union[Sketch, _Mapping]] = ..., queue_sketch: _Optional[_Union[Sketch, _Mapping]] = ..., process_sketch: _Optional[_Union[Sketch, _Mapping]] = ..., transfer_sketch: _Optional[_Union[Sketch, _Mapping]] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("entries", "sizes", "bucket", "count")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    entries: int
    sizes: bytes
    bucket: bytes
    count: bytes
    def __init__(self, entries: _Optional[int] = ..., sizes: _Optional[bytes] = ..., bucket: _Optional[bytes] = ..., count: _Optional[bytes] = ...) -> None: ...

class Connections(_message.Message):
    __slots__ = ("rows", "link", "time", "opened", "closed", "outcome", "connect", "bytes_sent", "bytes_received", "retransmits", "rtt", "min_rtt", "zero_windows", "resets_sent", "resets_received")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CONNECT_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    RETRANSMITS_FIELD_NUMBER: _ClassVar[int]
    RTT_FIELD_NUMBER: _ClassVar[int]
    MIN_RTT_FIELD_NUMBER: _ClassVar[int]
    ZERO_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    RESETS_SENT_FIELD_NUMBER: _ClassVar[int]
    RESETS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    rows: int
    link: bytes
    time: bytes
    opened: bytes
    closed: bytes
    outcome: bytes
    connect: bytes
    bytes_sent: bytes
    bytes_received: bytes
    retransmits: bytes
    rtt: bytes
    min_rtt: bytes
    zero_windows: bytes
    resets_sent: bytes
    resets_received: bytes
    def __init__(self, rows: _Optional[int] = ..., link: _Optional[bytes] = ..., time: _Optional[bytes] = ..., opened: _Optional[bytes] = ..., closed: _Optional[bytes] = ..., outcome: _Optional[bytes] = ..., connect: _Optional[bytes] = ..., bytes_sent: _Optional[bytes] = ..., bytes_received: _Optional[bytes] = ..., retransmits: _Optional[bytes] = ..., rtt: _Optional[bytes] = ..., min_rtt: _Optional[bytes] = ..., zero_windows: _Optional[bytes] = ..., resets_sent: _Optional[bytes] = ..., resets_received: _Optional[bytes] = ...) -> None: ...

class Endpoints(_message.Message):
    __slots__ = ("rows", "address", "port", "service", "pid")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    rows: int
    address: bytes
    port: bytes
    service: bytes
    pid: bytes
    def __init__(self, rows: _Optional[int] = ..., address: _Optional[bytes] = ..., port: _Optional[bytes] = ..., service: _Optional[bytes] = ..., pid: _Optional[bytes] = ...) -> None: ...

class Statements(_message.Message):
    __slots__ = ("rows", "statement_id", "protocol", "text")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    rows: int
    statement_id: bytes
    protocol: bytes
    text: bytes
    def __init__(self, rows: _Optional[int] = ..., statement_id: _Optional[bytes] = ..., protocol: _Optional[bytes] = ..., text: _Optional[bytes] = ...) -> None: ...

class InFlight(_message.Message):
    __slots__ = ("rows", "link", "protocol", "operation", "resource", "statement_id", "statement", "start", "request_bytes")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    link: bytes
    protocol: bytes
    operation: bytes
    resource: bytes
    statement_id: bytes
    statement: bytes
    start: bytes
    request_bytes: bytes
    def __init__(self, rows: _Optional[int] = ..., link: _Optional[bytes] = ..., protocol: _Optional[bytes] = ..., operation: _Optional[bytes] = ..., resource: _Optional[bytes] = ..., statement_id: _Optional[bytes] = ..., statement: _Optional[bytes] = ..., start: _Optional[bytes] = ..., request_bytes: _Optional[bytes] = ...) -> None: ...

class AgentStats(_message.Message):
    __slots__ = ("rows", "probe", "time", "interval", "events", "lost_in_kernel", "lost_in_agent", "unmatched", "unparsed", "spooled_bytes", "dropped_batches", "cpu", "kernel", "rss", "probe_runs", "details")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LOST_IN_KERNEL_FIELD_NUMBER: _ClassVar[int]
    LOST_IN_AGENT_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    UNPARSED_FIELD_NUMBER: _ClassVar[int]
    SPOOLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    RSS_FIELD_NUMBER: _ClassVar[int]
    PROBE_RUNS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    probe: bytes
    time: bytes
    interval: bytes
    events: bytes
    lost_in_kernel: bytes
    lost_in_agent: bytes
    unmatched: bytes
    unparsed: bytes
    spooled_bytes: bytes
    dropped_batches: bytes
    cpu: bytes
    kernel: bytes
    rss: bytes
    probe_runs: bytes
    details: _containers.RepeatedCompositeFieldContainer[StatDetails]
    def __init__(self, rows: _Optional[int] = ..., probe: _Optional[bytes] = ..., time: _Optional[bytes] = ..., interval: _Optional[bytes] = ..., events: _Optional[bytes] = ..., lost_in_kernel: _Optional[bytes] = ..., lost_in_agent: _Optional[bytes] = ..., unmatched: _Optional[bytes] = ..., unparsed: _Optional[bytes] = ..., spooled_bytes: _Optional[bytes] = ..., dropped_batches: _Optional[bytes] = ..., cpu: _Optional[bytes] = ..., kernel: _Optional[bytes] = ..., rss: _Optional[bytes] = ..., probe_runs: _Optional[bytes] = ..., details: _Optional[_Iterable[_Union[StatDetails, _Mapping]]] = ...) -> None: ...

class StatDetails(_message.Message):
    __slots__ = ("counts",)
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.ScalarMap[str, int]
    def __init__(self, counts: _Optional[_Mapping[str, int]] = ...) -> None: ...
