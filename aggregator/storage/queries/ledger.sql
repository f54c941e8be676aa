SELECT agent, spool_id, sequence, checksum
FROM accepted_batches
ORDER BY agent, spool_id, sequence DESC
LIMIT {per_spool:UInt32} BY agent, spool_id
