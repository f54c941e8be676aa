from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JournalBlock(_message.Message):
    __slots__ = ("id", "made_us", "batches")
    ID_FIELD_NUMBER: _ClassVar[int]
    MADE_US_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    id: str
    made_us: int
    batches: _containers.RepeatedCompositeFieldContainer[JournalBatch]
    def __init__(self, id: _Optional[str] = ..., made_us: _Optional[int] = ..., batches: _Optional[_Iterable[_Union[JournalBatch, _Mapping]]] = ...) -> None: ...

class JournalBatch(_message.Message):
    __slots__ = ("agent", "spool_id", "sequence", "checksum", "content", "content_bytes", "received_us", "names", "remote_host", "remote_service")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_US_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    REMOTE_HOST_FIELD_NUMBER: _ClassVar[int]
    REMOTE_SERVICE_FIELD_NUMBER: _ClassVar[int]
    agent: str
    spool_id: bytes
    sequence: int
    checksum: int
    content: bytes
    content_bytes: int
    received_us: int
    names: _containers.RepeatedScalarFieldContainer[str]
    remote_host: bytes
    remote_service: bytes
    def __init__(self, agent: _Optional[str] = ..., spool_id: _Optional[bytes] = ..., sequence: _Optional[int] = ..., checksum: _Optional[int] = ..., content: _Optional[bytes] = ..., content_bytes: _Optional[int] = ..., received_us: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., remote_host: _Optional[bytes] = ..., remote_service: _Optional[bytes] = ...) -> None: ...
