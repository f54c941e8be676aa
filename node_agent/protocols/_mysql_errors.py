"""Whose fault a MySQL error is: the statement's (`client_error`) or the server's (`server_error`).

https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html, https://mariadb.com/kb/en/mariadb-error-codes/

By the class of the SQLSTATE, which both servers send; HY000 ("general") says nothing, so there the error number
decides: the listed ones are the statement's.
"""

from __future__ import annotations

from node_agent.protocols._types import Status

#: No data, connection refused to this user, cardinality, data, constraint, cursor and transaction state,
#: authorization, names, syntax and access, check option, SIGNAL's 45000.
_STATEMENT_CLASSES = frozenset(
    ("01", "02", "07", "0A", "0K", "21", "22", "23", "24", "25", "26", "28", "2F", "34", "3D", "42", "44", "45")
)
#: Of class 42 by name, but the server's doing: 1040 and 1203 too many connections, 1226 resource limit.
_SERVER_NUMBERS = frozenset((1040, 1203, 1226))
#: HY000, but the statement's doing.
_STATEMENT_NUMBERS = frozenset(
    (
        1006, 1007, 1008, 1010, 1096, 1099, 1100, 1111, 1122, 1123, 1124, 1125, 1126, 1130, 1175, 1193, 1206, 1210,
        1221, 1228, 1229, 1231, 1232, 1238, 1243, 1267, 1268, 1269, 1270, 1271, 1273, 1290, 1292, 1293, 1295, 1300,
        1347, 1348, 1356, 1359, 1360, 1362, 1364, 1366, 1382, 1393, 1394, 1395, 1396, 1406, 1411, 1418, 1419, 1422,
        1424, 1428, 1429, 1442, 1443, 1445, 1471, 1525, 1526, 1651, 1758, 1819, 3141, 3143, 3819, 4025,
    )
)  # fmt: skip


def status(number: int, sqlstate: str) -> Status:
    """Status of an ERR packet; `sqlstate` is "" where it was not seen, and then as HY000."""
    if number in _SERVER_NUMBERS:
        return Status.SERVER_ERROR
    if sqlstate[:2] in _STATEMENT_CLASSES or number in _STATEMENT_NUMBERS:
        return Status.CLIENT_ERROR
    return Status.SERVER_ERROR
