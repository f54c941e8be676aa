-- sonde_writer is for aggregators: they make and change the tables as well as fill them.
CREATE ROLE IF NOT EXISTS sonde_writer @on_cluster;
GRANT @on_cluster SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW ON @database.* TO sonde_writer;
GRANT @on_cluster CREATE FUNCTION, CLUSTER, REMOTE ON *.* TO sonde_writer;

-- sonde_reader is for the dashboard, Grafana and people; the tables of `system` are what `sonde storage` asks. It has no
-- REMOTE, which would let it read from any address.
CREATE ROLE IF NOT EXISTS sonde_reader @on_cluster;
GRANT @on_cluster SELECT ON @database.* TO sonde_reader;
GRANT @on_cluster SELECT ON system.parts TO sonde_reader;
GRANT @on_cluster SELECT ON system.disks TO sonde_reader;

-- readonly = 2 and not 1, since clients send settings of output formats; it lets no file or URL be read, as those need
-- grants of their own, and the limits cannot be raised above MAX.
CREATE SETTINGS PROFILE OR REPLACE sonde_reader @on_cluster SETTINGS
    readonly = 2,
    distributed_product_mode = 'global',
    max_memory_usage = 4000000000 MAX 8000000000,
    max_execution_time = 60 MAX 600,
    max_result_bytes = 1000000000 MAX 4000000000
TO sonde_reader;

CREATE QUOTA OR REPLACE sonde_reader @on_cluster KEYED BY user_name
FOR INTERVAL 1 hour MAX queries = 50000, execution_time = 7200
TO sonde_reader;
