"""What is searched for when a person is erased: texts, in every way they may be written, and told from their look-alikes."""

import html
import json
import re
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl

LEAST_LENGTH = 4
LEAST_DIGITS = 6

_CHUNK = 1 << 20
_LITTLE_WORK = 20_000_000  # bytes compared
_WORD = "0-9A-Za-z"


def distinctive(value: str) -> bool:
    """Whether a text can be searched for byte by byte: `C123` can, `17` is found everywhere."""
    least = LEAST_DIGITS if re.fullmatch(r"[\d.,:+\- ]*", value) else LEAST_LENGTH
    return len(value) >= least


class Needles:
    """Texts that are searched for, each as a whole: `C123` is not found in `C1234`. `replacement` stands in for them.

    Texts that are not distinctive are left out: see `distinctive`.
    """

    def __init__(self, texts: Collection[str], replacement: str) -> None:
        self.texts = tuple(sorted({text for text in texts if distinctive(text)}, key=lambda text: (-len(text), text)))
        self.replacement = replacement

    def hidden(self, text: str) -> str:
        """`text` with every needle replaced."""
        return self._whole.sub(self.replacement, text) if self._may_be_in(text) else text

    def hidden_in(self, value: Any) -> Any:
        """A JSON value with every needle replaced in its texts and in the names of its members."""
        if isinstance(value, (list, dict)) and not self.found(msgspec.json.encode(value)):
            return value
        return self._hidden_in(value)

    def _hidden_in(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, list):
            return [self._hidden_in(part) for part in value]
        if isinstance(value, dict):
            return {self.hidden(name): self._hidden_in(part) for name, part in value.items()}
        return value

    def hidden_in_column(self, column: pl.Series) -> pl.Series:
        """A column of text with every needle replaced; the very same series where there is none."""
        if not self.texts or not (hits := column.str.contains_any(list(self.texts)).fill_null(value=False)).any():
            return column
        texts = [self.hidden(text) if hit else text for text, hit in zip(column.to_list(), hits.to_list(), strict=True)]
        changed = pl.Series(column.name, texts, dtype=column.dtype)
        return column if changed.equals(column) else changed

    def found(self, content: bytes, *, binary: bool = False) -> int:
        """How many there are in `content`, in UTF-8 or UTF-16, or as JSON, HTML and addresses write them.

        In a `binary` file texts stand side by side, so that only a digit after a digit tells that a text goes on.
        """
        return sum(1 for _ in self.places(content, binary=binary))

    def masked(self, content: bytes) -> bytes:
        """Text of the same length in bytes, with stars where needles were: a file can be changed while others append to it."""
        changed = bytearray(content)
        for start, end in self.places(content, binary=False):
            changed[start:end] = b"*" * (end - start)
        return bytes(changed)

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        return re.compile("|".join(_bounded(text) for text in self.texts))

    @cached_property
    def _written(self) -> dict[bytes, str]:
        """Every way in which a needle may be written, and the needle."""
        return {way: text for text in self.texts for way in _ways(text)}

    @cached_property
    def _patterns(self) -> list[str]:
        return [way.decode("latin-1") for way in self._written]

    def _ways_in(self, chunk: bytes) -> list[bytes]:
        """The ways of writing that stand in a chunk: one after the other where that is little work, else by one automaton."""
        if len(chunk) * len(self._written) < _LITTLE_WORK:
            return [way for way in self._written if way in chunk]
        found = pl.Series([chunk.decode("latin-1")]).str.extract_many(self._patterns, overlapping=True)[0]
        return list({way.encode("latin-1") for way in found.to_list()})

    @cached_property
    def _reach(self) -> int:
        return max((len(way) for way in self._written), default=0) + 2

    def _may_be_in(self, text: str) -> bool:
        if len(text) * len(self.texts) < _LITTLE_WORK:
            return any(one in text for one in self.texts)
        return bool(pl.Series([text]).str.contains_any(list(self.texts)).any())

    def places(self, content: bytes, *, binary: bool = False) -> Iterator[tuple[int, int]]:
        """Where needles stand, each place once. A chunk that holds none is passed over by one automaton for all of them."""
        seen = -1
        for start in range(0, len(content), _CHUNK) if self.texts else ():
            chunk = content[start : start + _CHUNK + self._reach]
            ways = sorted(self._ways_in(chunk), key=len, reverse=True)
            for match in re.finditer(b"|".join(re.escape(way) for way in ways), chunk) if ways else ():
                place = (start + match.start(), start + match.end())
                if place[0] > seen and not _goes_on(content, *place, binary=binary):
                    seen = place[1] - 1
                    yield place


def _bounded(text: str) -> str:
    before = f"(?<![{_WORD}])" if _is_word(text[0]) else ""
    after = f"(?![{_WORD}])" if _is_word(text[-1]) else ""
    return f"{before}{re.escape(text)}{after}"


def _ways(text: str) -> Iterator[bytes]:
    for written in dict.fromkeys([text, json.dumps(text)[1:-1], html.escape(text), quote(text), quote(text, safe="")]):
        yield written.encode("utf-8", "surrogatepass")
    for codec in ("utf-16-le", "utf-16-be"):
        yield text.encode(codec, "surrogatepass")


def _goes_on(content: bytes, start: int, end: int, *, binary: bool) -> bool:
    """Whether the text at this place is a part of a longer word."""
    before, first = content[start - 1 : start], content[start : start + 1]
    last, after = content[end - 1 : end], content[end : end + 1]
    return _joined(before, first, binary=binary) or _joined(last, after, binary=binary)


def _joined(left: bytes, right: bytes, *, binary: bool) -> bool:
    if binary:
        return left.isdigit() and right.isdigit()
    return left.isalnum() and right.isalnum()


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()
