WITH
    (
        SELECT max(sequence)
        FROM accepted_batches
        WHERE agent = {agent:String} AND spool_id = unhex({spool_id:String})
    ) AS latest
SELECT max(sequence) AS newest, groupArray(sequence) AS sequences, groupArray(checksum) AS checksums
FROM accepted_batches
WHERE agent = {agent:String} AND spool_id = unhex({spool_id:String}) AND sequence + {window:UInt32} > latest
HAVING count() > 0
