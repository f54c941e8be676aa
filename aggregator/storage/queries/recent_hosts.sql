SELECT host, addresses FROM hosts WHERE last_seen > now() - toIntervalDay(1)
