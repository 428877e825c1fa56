"""Figures as people read them: enough digits and no more, a real minus, a dash where there is none."""

import math
from collections.abc import Iterable
from datetime import datetime

from loopline.values import utc

MISSING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def fixed(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """The value with so many decimals and commas between thousands; `sign` writes the plus too."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{abs(value):,.{decimals}f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return (_MINUS if value < 0 else "+" if sign else "") + text


def count(value: float | None) -> str:
    """A whole number."""
    return fixed(value, 0)


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return MISSING if value is None or not math.isfinite(value) else f"{fixed(100 * value, 2)} %"


def decimals_for(errors: Iterable[float], *, least: int, most: int) -> int:
    """How many decimals say something: two digits of the smallest standard error, within limits."""
    known = [error for error in errors if math.isfinite(error) and error > 0]
    if not known:
        return least
    return min(most, max(least, 1 - math.floor(math.log10(min(known)))))


def moment(value: datetime) -> str:
    """A time to the minute, in UTC; the page says so once."""
    return f"{utc(value):%Y-%m-%d %H:%M}"


def times(number: int, word: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
