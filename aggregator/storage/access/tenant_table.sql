-- One table: the tenant's role reads its own rows of it, everyone else who may read it reads all.
GRANT @on_cluster SELECT ON @database.@name(table) TO sonde_tenant_@name(tenant);
CREATE ROW POLICY OR REPLACE sonde_tenant_@name(tenant) @on_cluster ON @database.@name(table) FOR SELECT
USING @name(condition) TO sonde_tenant_@name(tenant);
CREATE ROW POLICY OR REPLACE sonde_everyone @on_cluster ON @database.@name(table) FOR SELECT
USING 1 TO sonde_reader, sonde_writer;
