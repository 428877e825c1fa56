"""Heads that came before: found only for a whole request with the very same head, and then they say what the parser said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.server.scoring.heads import LARGEST, MOST, Head, Heads

HEAD = b"POST /a HTTP/1.1\r\nx: y\r\ncontent-length: 3\r\n\r\n"
SAID = Head("POST", b"/a", {b"x": b"y", b"content-length": b"3"}, 3, keep=True)


def test_a_known_head_is_found_with_any_body_of_its_length():
    heads = Heads()
    assert heads.find(HEAD + b"abc") is None
    heads.keep(HEAD + b"abc", SAID)
    assert heads.find(HEAD + b"xyz") == (SAID, b"xyz")


@settings(max_examples=200)
@given(st.binary(max_size=8), st.integers(0, len(HEAD)), st.integers(0, 255))
def test_anything_else_is_left_to_the_parser(body, place, byte):
    heads = Heads()
    heads.keep(HEAD + b"abc", SAID)
    if len(body) != 3:
        assert heads.find(HEAD + body) is None
    changed = HEAD[:place] + bytes([byte]) + HEAD[place + 1 :]
    if changed != HEAD:
        assert heads.find(changed + b"abc") is None
    assert heads.find(HEAD[:place]) is None


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (HEAD + b"abcd", SAID),
        (HEAD + b"ab", SAID),
        (HEAD[:-4], SAID),
        (HEAD + b"abc", SAID._replace(headers={b"transfer-encoding": b"chunked"})),
        (HEAD + b"abc", SAID._replace(headers={b"expect": b"100-continue"})),
        (b"POST /" + b"a" * LARGEST + HEAD + b"abc", SAID),
    ],
)
def test_what_is_not_one_plain_whole_request_is_not_kept(data, head):
    heads = Heads()
    heads.keep(data, head)
    assert heads.find(data) is None


def test_the_oldest_go_first():
    heads = Heads()
    for number in range(MOST + 1):
        heads.keep(b"GET /%d HTTP/1.1\r\n\r\n" % number, Head("GET", b"/%d" % number, {}, 0, keep=True))
    assert heads.find(b"GET /0 HTTP/1.1\r\n\r\n") is None
    assert heads.find(b"GET /1 HTTP/1.1\r\n\r\n") is not None
