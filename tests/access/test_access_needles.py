"""Needles: found however they are written, and not in what only looks like them."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.access.needles import Needles, distinctive

N = Needles({"C-4711", "zoë <z@x.org>", "17", "ab"}, "person:0")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("C-4711", "person:0"),
        ("of C-4711, who", "of person:0, who"),
        ("C-47112 XC-4711", "C-47112 XC-4711"),
        ("C-4711|2024", "person:0|2024"),
        ("cust_C-4711_x", "cust_person:0_x"),
        ("zoë <z@x.org>!", "person:0!"),
        ("17 ab", "17 ab"),
        ("", ""),
    ],
)
def test_whole_texts_are_replaced(text, hidden):
    assert N.hidden(text) == hidden
    assert N.hidden_in_column(pl.Series([text, None]))[0] == hidden
    assert N.found(text.encode()) == (hidden != text)


def test_short_texts_cannot_be_searched_for():
    assert [distinctive(text) for text in ("C123", "abc", "123456", "12345", "2024-01", "2024")] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "written",
    [
        "zoë <z@x.org>".encode("utf-16-le"),
        "zoë <z@x.org>".encode("utf-16-be"),
        json.dumps({"a": "zoë <z@x.org>"}).encode(),
        b"<p>zo\xc3\xab &lt;z@x.org&gt;</p>",
        b"?q=zo%C3%AB%20%3Cz%40x.org%3E",
        b"\x00" * ((1 << 20) - 3) + "zoë <z@x.org>".encode(),
        b"x" * ((1 << 20) - 6) + b" C-4711 ",
    ],
)
def test_every_way_of_writing_is_found_also_across_chunks(written):
    assert N.found(written) == 1
    masked = N.masked(written)
    assert len(masked) == len(written)
    assert N.found(masked) == 0


def test_in_binary_files_texts_stand_side_by_side():
    assert N.found(b"shopC-4711orders", binary=True) == 1
    assert N.found(b"7C-47112", binary=True) == 0
    assert N.found(b"shopC-4711orders") == 0


def test_json_is_changed_in_values_and_names():
    assert N.hidden_in({"C-4711": ["C-4711", 4711, None, {"x": "no C-4711"}]}) == {
        "person:0": ["person:0", 4711, None, {"x": "no person:0"}]
    }


@given(st.text(max_size=30), st.text(max_size=30))
def test_nothing_is_left_and_nothing_else_is_touched(before, after):
    text = f"{before} C-4711 {after}"
    hidden = N.hidden(text)
    assert "C-4711 " not in hidden.replace("C-47112", "")
    assert N.hidden(hidden) == hidden
    if "zo" not in text and text.count("C-4711") == 1:
        assert hidden == f"{before} person:0 {after}"
