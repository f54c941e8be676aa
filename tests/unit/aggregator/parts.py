"""Parts of blocks for tests, from batches as agents build them."""

from __future__ import annotations

import numpy as np

from aggregator.config import Limits
from aggregator.ingest import content, seal
from aggregator.ingest.batch import BatchId, Ends, Part, Sealed
from tests.support.batches import SPOOL, Builder


def part(builder: Builder, sequence: int = 1, remote: tuple[str, str] = ("~unknown", "~unknown")) -> Part:
    """The part of a batch whose links all end at `remote`."""
    sealed = builder.seal(sequence)
    read = content.read(seal.open_batch(sealed, Limits()), Limits())
    links = read.rows("links")
    ends = Ends(["", *remote], np.full(links, 1, dtype=np.int32), np.full(links, 2, dtype=np.int32))
    kept = Sealed(sealed.content, sealed.content_bytes, sealed.checksum)
    return Part(BatchId(builder.host, SPOOL, sequence), kept, read, ends, builder.now_us)


def busy(host: str, requests: int, now_us: int | None = None) -> Builder:
    """A host with a link, requests and one of everything else."""
    builder = Builder(host, ["10.0.0.1"], now_us)
    link = builder.link("client", f"nginx-{host}", "10.0.0.1", 40_000, "10.0.0.2", 8080, connection_id=7)
    other = builder.link("server", "api", "10.0.0.1", 80, "10.0.0.3", 50_000, connection_id=9)
    for number in range(requests):
        builder.request(
            (link, other)[number % 2], resource=f"/{host}/{number % 3}", duration_us=1000 + number,
            statement_id=number % 4, statement="SELECT ?",
        )  # fmt: skip
    if requests > 10:
        builder.unsampled(link, [1000, 1001, 70_000], resource=f"/{host}/sums")
    builder.connection(other)
    builder.in_flight(other)
    builder.endpoint("::", 80, f"nginx-{host}")
    builder.statement(5, "SELECT ?")
    builder.agent_stats("requests", {"events/http1": requests}, events=requests)
    return builder
