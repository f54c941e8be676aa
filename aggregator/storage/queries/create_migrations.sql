CREATE TABLE IF NOT EXISTS @local(schema_migrations) @on_cluster
(
    number   UInt16,
    name     String,
    checksum String,
    applied  DateTime('UTC') DEFAULT now()
)
ENGINE = @replicated(MergeTree)
ORDER BY number;

@distributed(schema_migrations, number);
