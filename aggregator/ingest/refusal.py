"""Why a batch is refused, as one exception."""

from __future__ import annotations

from proto import sonde_pb2 as pb
from sonde.errors import WireError


class Refused(WireError):  # noqa: N818  (it is an answer to the agent)
    """A batch, or a message, that is not accepted; `code` is one of Refusal.Code. `retry_after_s`: 0, or not before."""

    def __init__(self, code: int, message: str, retryable: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.retry_after_s = retry_after_s

    @property
    def reason(self) -> str:
        """The code's name in lower case, as the metrics have it."""
        return pb.Refusal.Code.Name(self.code).lower()
