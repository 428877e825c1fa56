"""The shape of messages: the same for the same thing, and no quoted text, name or number in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.pipelines.healing.message import LONGEST, fingerprint, shape_of

texts = st.text(st.characters(codec="utf-8"), max_size=120)


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ("row 17 of 1,200 is negative: -3.5e7", "row <n> of <n> is negative: <n>"),
        ("connect to 10.0.0.17:5432 failed", "connect to <host> failed"),
        ("GET https://api.example.org/v1/x?token=abc gave 503", "GET <url> gave <n>"),
        ("no such file: /data/2026/rows.parquet", "no such file: <path>"),
        ("no key 'Jane Doe' in \"people\"", "no key <text> in <text>"),
        ("execution exec_0f3a9b2c77d1 was lost", "execution <id> was lost"),
        ("order 123e4567-e89b-12d3-a456-426614174000 is twice", "order <id> is twice"),
        ("object at 0x7f3b2c", "object at <id>"),
        ("due at 2026-03-29T02:30:00+01:00 and 2026-03-29", "due at <time> and <time>"),
        ("mail to ann@example.org bounced", "mail to <email> bounced"),
        ("customer Jane Doe has two rows", "customer <name> has two rows"),
        ("a\n\n  b", "a b"),
    ],
)
def test_what_changes_is_replaced(message, shape):
    assert shape_of(message) == shape


@settings(max_examples=1500, deadline=None)
@given(texts)
def test_a_shape_is_its_own_shape_and_short(text):
    shape = shape_of(text)
    assert len(shape) <= LONGEST
    assert shape_of(shape) == shape


@given(first=st.integers(), second=st.integers(), name=st.from_regex(r"[A-Z][a-z]{2,8}", fullmatch=True))
def test_the_same_error_with_other_numbers_and_names_is_the_same(first, second, name):
    def shape(number, who):
        return shape_of(f"row {number} of customer {who} has the value '{who}-{number}' at /in/{number}/{who}.csv")

    assert shape(first, name) == shape(second, "Jane")
    assert fingerprint("data", shape(first, name)) == fingerprint("data", shape(second, "Jane"))


def test_a_very_long_message_is_read_quickly():
    assert shape_of("x/" * 10**6 + "'") != ""
    assert shape_of("@" * 10**6 + "'" * 1000) != ""
