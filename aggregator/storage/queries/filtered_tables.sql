SELECT database, name, has(columns, 'host') AS by_host, has(columns, 'agent') AS by_agent, has(columns, 'statement_id') AS by_statement
FROM system.tables
LEFT JOIN (SELECT database, table AS name, groupArray(system.columns.name) AS columns FROM system.columns GROUP BY ALL) AS c
USING (database, name)
WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND engine != 'View'
