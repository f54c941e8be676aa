"""sonde/groups.py with sketches as columns of the store."""

from __future__ import annotations

import pyarrow as pa

from sonde import groups
from sonde.groups import U64
from sonde.sketches import Buckets


def map_array(buckets: Buckets) -> pa.MapArray:
    """One map {bucket: count} a row, keys ascending."""
    return pa.MapArray.from_arrays(
        pa.array(buckets.starts.astype("int32")), pa.array(buckets.keys), pa.array(buckets.counts)
    )


class Groups(groups.Groups):
    """See sonde/groups.py."""

    def sketches(self, nanoseconds: U64, weight: U64) -> pa.MapArray:
        """One sketch {bucket: count} per group, of durations (n,) that count `weight` times, at least once."""
        return map_array(self.buckets(nanoseconds, weight))
