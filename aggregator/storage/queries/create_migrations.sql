CREATE TABLE IF NOT EXISTS schema_migrations
(
    number   UInt16,
    name     String,
    checksum String,
    applied  DateTime('UTC') DEFAULT now()
)
ENGINE = MergeTree
ORDER BY number
