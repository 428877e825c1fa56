"""How programs write a text: escaped, quoted, encoded, composed. All the ways in which it may stand in a file."""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_PERCENT = re.compile("%[0-9A-F]{2}")
_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_NARROW = ("latin-1", "cp1252")


def spellings(text: str) -> dict[str, None]:
    """`text` and how JSON (also inside of JSON), HTML, addresses, CSV, SQL and Python write it, its accents composed or not, each
    once, the text first. Of an e-mail address also in small letters, as mail programs write it.
    """
    composed = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    cased = [one.lower() for one in composed] if "@" in text else []
    return dict.fromkeys(way for one in dict.fromkeys([*composed, *cased]) for way in _spelled(one))


def in_bytes(text: str) -> Iterator[bytes]:
    """The bytes of a spelling in every encoding that log and text files have."""
    yield text.encode("utf-8", "surrogatepass")
    for codec in _WIDE:
        yield text.encode(codec, "surrogatepass")
    for codec in () if text.isascii() else _NARROW:
        with_codec = text.encode(codec, "ignore")
        if with_codec.decode(codec) == text:
            yield with_codec


def _spelled(text: str) -> Iterator[str]:
    yield text
    yield from _as_json(text)
    yield from _as_html(text)
    yield from _in_addresses(text)
    yield text.replace('"', '""')
    yield text.replace("'", "''")
    if not text.isascii() or not text.isprintable():
        yield ascii(text)[1:-1]
        yield repr(text.encode("utf-8", "surrogatepass"))[2:-1]


def _as_json(text: str) -> Iterator[str]:
    """Plain, and inside of a text that is JSON itself; hexadecimal digits small and capital."""
    for plain in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        for way in (plain, _ESCAPE.sub(lambda match: rf"\u{match[0][2:].upper()}", plain)):
            yield way
            yield json.dumps(way, ensure_ascii=False)[1:-1]


def _as_html(text: str) -> Iterator[str]:
    for way in (text, html.escape(text), html.escape(text, quote=False)):
        yield way
        yield way.encode("ascii", "xmlcharrefreplace").decode()
        yield "".join(one if one.isascii() else f"&#x{ord(one):x};" for one in way)


def _in_addresses(text: str) -> Iterator[str]:
    known = text.encode("utf-8", "surrogatepass")
    for way in (quote(known), quote(known, safe=""), quote(known, safe="@"), quote_plus(known)):
        yield way
        yield _PERCENT.sub(lambda match: match[0].lower(), way)
