"""What is searched for when a person is erased: texts, in every way they may be written, and told from their look-alikes."""

import re
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

import msgspec
import polars as pl

from loopline.access.spellings import in_bytes, spellings

LEAST_LENGTH = 4
LEAST_DIGITS = 6

_CHUNK = 1 << 20
_LITTLE_WORK = 20_000_000  # bytes compared
_WORD = "0-9A-Za-z"
_JSON = ("{", "[")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def distinctive(value: str) -> bool:
    """Whether a text can be searched for byte by byte: `C123` can, `17` is found everywhere."""
    least = LEAST_DIGITS if re.fullmatch(r"[\d.,:+\- ]*", value) else LEAST_LENGTH
    return len(value) >= least


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def number_texts(value: float) -> set[str]:
    """How a number is written: in full, and a whole one without its point. None for what is not finite."""
    if value - value != 0:
        return set()
    return {str(value), str(int(value))} if value == int(value) else {str(value)}


class Needles:
    """Texts that are searched for, each as a whole: `C123` is not found in `C1234`. `replacement` stands in for them.

    Each is searched for in every spelling that `spellings` knows. Texts that are not distinctive are left out: see `distinctive`.
    """

    def __init__(self, texts: Collection[str], replacement: str) -> None:
        self.texts = tuple(sorted({text for text in texts if distinctive(text)}, key=lambda text: (-len(text), text)))
        self.replacement = replacement

    def hidden(self, text: str) -> str:
        """`text` with every needle replaced; a text that is JSON stays JSON."""
        if not self._may_be_in(text):
            return text
        if text[:1] in _JSON and (said := _decoded(text)) is not None:
            changed = self._hidden_in(said)
            return text if changed == said else msgspec.json.encode(changed).decode()
        return self._whole.sub(self.replacement, text)

    def hidden_in(self, value: Any) -> Any:
        """A JSON value with every needle replaced in its texts and in the names of its members. A number that is a needle is
        rounded to two digits: what reads it takes a number still.
        """
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
        return self._rounded(value) if isinstance(value, (int, float)) else value

    def _rounded(self, value: float) -> float:
        """Two digits are no person's. An infinite or a short number is no needle."""
        if isinstance(value, bool) or not self._numbers & number_texts(value):
            return value
        return type(value)(float(f"{value:.1e}"))

    def hidden_in_column(self, column: pl.Series) -> pl.Series:
        """A column of text with every needle replaced; the very same series where there is none."""
        if not self.texts or not (hits := column.str.contains_any(self._spelled).fill_null(value=False)).any():
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
        return re.compile(
            "|".join(_bounded(text) for text in sorted(self._spelled, key=lambda text: (-len(text), text)))
        )

    @cached_property
    def _spelled(self) -> list[str]:
        return list(dict.fromkeys(way for text in self.texts for way in spellings(text)))

    @cached_property
    def _numbers(self) -> frozenset[str]:
        return frozenset(text for text in self.texts if _NUMBER.fullmatch(text))

    @cached_property
    def _written(self) -> dict[bytes, str]:
        """Every way in which a needle may be written, and the needle."""
        return {way: text for text in self._spelled for way in in_bytes(text)}

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
        if len(text) * len(self._spelled) < _LITTLE_WORK:
            return any(one in text for one in self._spelled)
        return bool(pl.Series([text]).str.contains_any(self._spelled).any())

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
