INSERT INTO schema_migrations (number, name, checksum)
SELECT {number:UInt16}, {name:String}, {checksum:String}
