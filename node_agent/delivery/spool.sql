-- The spool's file: batches that wait for their acknowledgement, those refused for good, and where the numbers stand.
-- Executed as one script in one transaction. `digest` is blake2b of the sealed bytes, keyed with the sequence: SQLite
-- has no page checksums of its own.
CREATE TABLE batches (
    sequence  INTEGER PRIMARY KEY,  -- never given twice in one file
    sealed_at INTEGER NOT NULL,     -- s of the spool's time (spool_age.py): Unix time, unless the clock was set
    digest    BLOB NOT NULL,
    sealed    BLOB NOT NULL         -- the SealedBatch message, sent as it stands
);
CREATE TABLE quarantine (
    number     INTEGER PRIMARY KEY,  -- order of refusal
    refused_at INTEGER NOT NULL,     -- Unix time, s
    code       TEXT NOT NULL,        -- Refusal.Code
    message    TEXT NOT NULL,        -- the aggregator's words
    sealed     BLOB NOT NULL
);
CREATE TABLE state (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    agent    TEXT NOT NULL,
    spool_id BLOB NOT NULL,     -- 16 random bytes
    last     INTEGER NOT NULL   -- the highest sequence ever committed
);
