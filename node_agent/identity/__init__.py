"""Who is who: processes to services, this host, its clock."""
