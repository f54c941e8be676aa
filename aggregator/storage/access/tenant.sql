-- Who may see the rows of one tenant: of hosts whose agent's certificate says so. It must not have sonde_reader as well.
CREATE ROLE IF NOT EXISTS sonde_tenant_@name(tenant) @on_cluster;
CREATE SETTINGS PROFILE OR REPLACE sonde_tenant_@name(tenant) @on_cluster SETTINGS PROFILE sonde_reader
TO sonde_tenant_@name(tenant);
CREATE QUOTA OR REPLACE sonde_tenant_@name(tenant) @on_cluster KEYED BY user_name
FOR INTERVAL 1 hour MAX queries = 10000, execution_time = 1800
TO sonde_tenant_@name(tenant);
