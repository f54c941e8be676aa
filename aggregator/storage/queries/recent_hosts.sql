SELECT host, addresses FROM hosts WHERE last_seen > now() - toIntervalSecond({seconds:UInt32})
