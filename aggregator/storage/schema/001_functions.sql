-- sketchQuantile(level, sketch): nanoseconds at `level` (0 to 1) of a DDSketch Map(Int16, UInt64); NaN for an empty one.
-- The twin of sonde/sketch.py: bucket i is worth 2 g^i / (g + 1) with g = 1.01 / 0.99, key -32768 is 0 ns, and the
-- rank is floor(level * (n - 1)). Works on one row's map and on sumMap(...) of many.
CREATE FUNCTION IF NOT EXISTS sketchQuantile @on_cluster AS (level, sketch) ->
    if(
        empty(sketch),
        nan,
        arrayElement(
            arrayMap(
                k -> if(k = -32768, 0., 2 * pow(1.01 / 0.99, k) / (1.01 / 0.99 + 1)),
                mapKeys(mapSort(sketch))
            ),
            arrayFirstIndex(
                c -> c > floor(level * (arraySum(mapValues(sketch)) - 1)),
                arrayCumSum(mapValues(mapSort(sketch)))
            )
        )
    );
