ALTER TABLE {table:Identifier} @on_cluster MODIFY TTL toDateTime({column:Identifier}) + toIntervalDay({days:UInt32})
