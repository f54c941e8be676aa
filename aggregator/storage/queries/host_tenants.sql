SELECT host, argMax(tenant, time) AS tenant FROM host_tenants GROUP BY host
