"""What a request asks for and how it ended, from its first bytes: HTTP/1, MySQL, Redis.

`Decoder` turns blocks of kernel records into columns; `registry` says which protocols there are. Everything
here is pure: no I/O, no clock, no exception for any bytes, no literal of the application in any text.
"""

from node_agent.protocols._decoder import Decoded, Decoder, Exchange
from node_agent.protocols._strings import Strings
from node_agent.protocols._types import Block, Message, Request, Response, Status, statement_id

__all__ = [
    "Block",
    "Decoded",
    "Decoder",
    "Exchange",
    "Message",
    "Request",
    "Response",
    "Status",
    "Strings",
    "statement_id",
]
