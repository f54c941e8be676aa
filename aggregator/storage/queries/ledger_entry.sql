SELECT checksum
FROM accepted_batches
WHERE agent = {agent:String} AND spool_id = unhex({spool_id:String}) AND sequence = {sequence:UInt64}
LIMIT 1
