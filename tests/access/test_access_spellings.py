"""Spellings: what other libraries make of a text is among them."""

import csv
import html
import io
import json
import unicodedata
from urllib.parse import quote, quote_plus, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.access.spellings import in_bytes, spellings


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_what_libraries_write_is_among_the_spellings(text):
    known = spellings(text)
    assert next(iter(known)) == text
    row = io.StringIO()
    csv.writer(row, quoting=csv.QUOTE_ALL).writerow([text])
    written = [
        json.dumps(text)[1:-1],
        msgspec.json.encode(text).decode()[1:-1],
        html.escape(text),
        quote(text),
        quote(text, safe=""),
        quote_plus(text),
        urlencode({"a": text})[2:],
        row.getvalue()[1:-3],
        unicodedata.normalize("NFD", text),
        json.dumps(json.dumps(text))[3:-3],
    ]
    assert [one for one in written if one not in known] == []
    bytes_of = {way for one in known for way in in_bytes(one)}
    assert {text.encode(), text.encode("utf-16-le"), text.encode("utf-32-be")} <= bytes_of


@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
def test_old_encodings_count_where_they_have_the_letters(codec):
    assert "zoë".encode(codec) in set(in_bytes("zoë"))
    assert not any(len(way) == 2 for way in in_bytes("北京"))


def test_an_address_is_found_in_small_letters_and_an_id_is_not():
    assert "zoe@example.org" in spellings("Zoe@Example.org")
    assert "c-4711" not in spellings("C-4711")
