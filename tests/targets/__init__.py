"""Real servers to observe, each in a network namespace of its own and gone when its `with` block ends.

    with Network("db") as network:
        db = network["db"]
        with MariaDB(db) as server, db.entered():
            pymysql.connect(host=server.address, ...)

Nothing here touches the root namespace's addresses, routes or firewall. The demo uses the same servers.
"""
