"""The shape of a message: what stays the same when the same thing goes wrong again with other numbers, names and places."""

import hashlib
import re

LONGEST = 300

_ROUNDS = 50

_PARTS = [
    ("<url>", r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s'\"<>]+"),
    ("<email>", r"[^\s<>@'\"(),;:]+@[^\s<>@'\"(),;:]+"),
    ("<text>", r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`|\u2018[^\u2019\n]*\u2019|\u201c[^\u201d\n]*\u201d|«[^»\n]*»"),
    ("<id>", r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"),
    ("<time>", r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?(?:Z|[+-]\d{2}:?\d{2}))?)?"),
    ("<host>", r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"),
    ("<path>", r"(?<![\w<])(?:[A-Za-z]:)?(?:\.{0,2}[/\\][\w.@%+=:,~-]+){2,}[/\\]?|(?<![\w<])/[\w.@%+=,~-]+"),
    ("<id>", r"\b0x[0-9a-fA-F]+\b|\b(?=\w*\d)(?=\w*[a-zA-Z_])\w{6,}\b"),
    ("<n>", r"[-+]?\d+(?:[.,_]\d+)*(?:e[-+]?\d+)?"),
    ("<name>", r"(?<=[a-z,>] )[A-Z][a-z]+(?: [A-Z][a-z]+)*(?![\w.])"),
]
_SEARCHED = re.compile("|".join(f"(?P<p{number}>{pattern})" for number, (_, pattern) in enumerate(_PARTS)))
_NAMED = re.compile(r"<(?:url|email|text|id|time|host|path|n|name)>")
_SPACE = re.compile(r"\s+")


def shape_of(message: str) -> str:
    """The message with numbers, ids, times, paths, hosts, quoted texts and names replaced by what they are, such as `<n>`.

    Quoted texts and names go because they may be somebody's. At most 300 characters; the shape of a shape is itself.
    """
    before, text = "", _SPACE.sub(" ", message[: 4 * LONGEST]).strip()
    for _ in range(_ROUNDS):  # what stands beside a replaced part may read otherwise then
        if text == before:
            break
        before, text = text, _once(text)[:LONGEST].strip()
    return text


def _once(text: str) -> str:
    parts, last = [], 0
    for kept in _NAMED.finditer(text):  # what is replaced already stays
        parts += [_replaced(text[last : kept.start()]), kept[0]]
        last = kept.end()
    return "".join([*parts, _replaced(text[last:])])


def fingerprint(*parts: str) -> str:
    """12 hex digits for an error of this kind and shape."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _replaced(text: str) -> str:
    return _SEARCHED.sub(lambda found: _PARTS[int(str(found.lastgroup)[1:])][0], text)
