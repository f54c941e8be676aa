import pytest

from node_agent.protocols import Status, http1
from node_agent.protocols._types import Message

from .turns import decode_both

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
S = "Xsecret9"


def get(target, method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1")


TARGETS = [
    ("/", "/", ""),
    ("/items/4711", "/items/{id}", ""),
    ("/items/550e8400-e29b-41d4-a716-446655440000/parts", "/items/{id}/parts", ""),
    ("/api/v1/users/bob@example.org", "/api/v1/users/{id}", ""),
    ("/v123/x", "/{id}/x", ""),
    ("/" + "a" * 33, "/{id}", ""),
    ("/a%20b/c.html", "/{id}/c.html", ""),
    (f"/items/7?token={S}&b=&{S}&c", "/items/{id}", "?token=&b=&*"),
    (f"/items?{S}={S}", "/items", "?*="),
    (f"/a;jsessionid={S}/b", "/a/b", ""),
    (f"http://user:{S}@host:80/items/1?q={S}", "/items/{id}", "?q="),
    ("*", "*", ""),
    ("host:443", "", ""),
]


@pytest.mark.parametrize(("target", "path", "query"), TARGETS)
def test_target_becomes_a_route_template(target, path, query):
    (row,), _ = decode_both(http1.NUMBER, [(get(target), OK)])
    assert (row["operation"], row["resource"]) == ("GET", path)
    assert row["statement"] == f"GET {path}{query}".strip()
    assert S not in str(row)


@pytest.mark.parametrize(("answer", "method", "status", "code", "framed"), [
    (OK, "GET", Status.OK, "200", True),
    (OK[:-1], "GET", Status.OK, "200", False),
    (b"HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n", "GET", Status.CLIENT_ERROR, "404", True),
    (b"HTTP/1.1 500 No\r\nContent-Length: 0 \r\n\r\n", "GET", Status.SERVER_ERROR, "500", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", Status.OK, "204", True),
    (b"HTTP/1.1 304 Same\r\nContent-Length: 10\r\n\r\n", "GET", Status.OK, "304", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "HEAD", Status.OK, "200", True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET", Status.OK, "200", True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "GET", Status.OK, "200", False),
    (b"HTTP/1.1 101 Switching\r\n\r\n", "GET", Status.OK, "101", True),
    (b"garbage and more garbage", "GET", Status.OK, "~other", False),
    (b"", "GET", Status.NO_RESPONSE, "", False),
])  # fmt: skip
def test_status_and_framing_of_the_response(answer, method, status, code, framed):
    (row,), _ = decode_both(http1.NUMBER, [(get("/", method), answer)], answer_width=128)
    assert (row["status"], row["status_code"], row["framed"]) == (status, code, framed)


def test_first_of_two_lengths_counts_and_only_captured_bytes_do():
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nhi"
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r"  # what lies behind looks like the header's end
    rows, _ = decode_both(http1.NUMBER, [(get("/"), twice), (get("/"), cut)], answer_width=64)
    assert [row["framed"] for row in rows] == [True, False]


def test_interim_response_is_said_to_be_one():
    request = http1.parse_request(get("/"))
    assert http1.parse_response(b"HTTP/1.1 103 Early\r\n\r\n", b"", 22, request).interim
    assert not http1.parse_response(b"HTTP/1.1 101 Switching\r\n\r\n", b"", 26, request).interim


def test_pipelined_requests_are_split_and_get_their_answers():
    turn = get("/a/1") + b"POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + get("/c")
    assert [message.offset for message in http1.split(turn, len(turn))] == [
        0,
        len(get("/a/1")),
        len(turn) - len(get("/c")),
    ]
    answers = OK + b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" + OK
    (row,), decoder = decode_both(http1.NUMBER, [(turn, answers)], 256, 256)
    assert not row["single"]
    parts = decoder.split(http1.NUMBER, turn, len(turn), answers, answers[-16:], len(answers))
    assert [decoder.strings[part.status_code] for part in parts] == ["200", "404", "200"]
    assert [decoder.strings[part.resource] for part in parts] == ["/a/{id}", "/b", "/c"]


def test_request_with_a_body_is_single_and_one_behind_it_is_not():
    post = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    rows, _ = decode_both(http1.NUMBER, [(post, OK), (post + get("/"), OK), (post[:-2], OK)])
    assert [row["single"] for row in rows] == [True, False, True]
    assert http1.split(post[:20], len(post)) == [Message(0, None)]


@pytest.mark.parametrize(
    "data", [b"", b"GE", b"GET", b"GETS / HTTP/1.1\r\n", b"GET /\r\n", b"PRI * HTTP/2.0\r\n\r\n", b"get / HTTP/1.1\r\n"]
)
def test_bytes_that_are_no_request_are_not_valid(data):
    (row,), _ = decode_both(http1.NUMBER, [(data, OK)])
    assert not any(row[name] for name in row)


def test_segments_cut_at_different_places_are_one_key():
    turns = [(get("/reset/" + "abcdefghijk"[: 1 + i % 11] + "x" * 30), OK) for i in range(50)]
    _, decoder = decode_both(http1.NUMBER, turns, width=18)
    assert decoder.parsed == 2


def test_segment_cut_by_the_prefix_is_not_shown():
    (row,), _ = decode_both(http1.NUMBER, [(get("/reset/abcdefghijklmnop1234"), OK)], width=20)
    assert (row["resource"], row["truncated"]) == ("/reset/", True)
