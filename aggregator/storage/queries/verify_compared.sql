SELECT sum(requests) AS requests_count
FROM {table:Identifier}
WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
