SELECT sum(free_space) AS free_bytes, sum(total_space) AS total_bytes FROM @system(disks)
