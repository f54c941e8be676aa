SELECT
    agent,
    spool_id,
    any(spool.last_sequence) AS newest,
    groupArray(sequence) AS sequences,
    groupArray(checksum) AS checksums
FROM accepted_batches AS accepted
INNER JOIN
(
    SELECT agent, spool_id, max(sequence) AS last_sequence, max(time) AS last_time
    FROM accepted_batches
    GROUP BY agent, spool_id
    ORDER BY last_time DESC
    LIMIT {spools:UInt32}
) AS spool USING (agent, spool_id)
WHERE sequence + {window:UInt32} > spool.last_sequence
GROUP BY agent, spool_id
ORDER BY any(spool.last_time) DESC
