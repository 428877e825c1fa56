"""What a search may try: a range or a choice for each parameter."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from loopline.errors import InvalidInput

Plain = str | int | float | bool | None


class Uniform(msgspec.Struct, frozen=True, tag="uniform"):
    """A number from `low` to `high`, both included."""

    low: float
    high: float

    def middle(self) -> float:
        """Where to begin without a declared value."""
        return self.low + (self.high - self.low) / 2


class LogUniform(msgspec.Struct, frozen=True, tag="loguniform"):
    """A positive number from `low` to `high`, both included, whose logarithm is uniform."""

    low: float
    high: float

    def middle(self) -> float:
        """The geometric mean of the ends."""
        return min(max(math.sqrt(self.low) * math.sqrt(self.high), self.low), self.high)


class Integer(msgspec.Struct, frozen=True, tag="integer"):
    """A whole number from `low` to `high`, both included; with `log`, its logarithm is about uniform."""

    low: int
    high: int
    log: bool = False

    def middle(self) -> int:
        """Where to begin without a declared value."""
        return round(math.sqrt(self.low * self.high)) if self.log else (self.low + self.high) // 2


class Choice(msgspec.Struct, frozen=True, tag="choice"):
    """One of the plain values `of`."""

    of: tuple[Plain, ...]

    def middle(self) -> Plain:
        """The first."""
        return self.of[0]


Range = Uniform | LogUniform | Integer | Choice
Space = Mapping[str, Range]


def uniform(low: float, high: float) -> Uniform:
    """A number from `low` to `high`, every one as likely. Raises `InvalidInput` for an empty or infinite range."""
    _check(low, high)
    return Uniform(float(low), float(high))


def loguniform(low: float, high: float) -> LogUniform:
    """A positive number from `low` to `high`, every order of magnitude as likely: learning rates, penalties.

    Raises `InvalidInput` for an empty or infinite range, or one that reaches 0.
    """
    _check(low, high)
    _check_positive(low)
    return LogUniform(float(low), float(high))


def integer(low: int, high: int, *, log: bool = False) -> Integer:
    """A whole number from `low` to `high`; with `log`, every order of magnitude as likely.

    Raises `InvalidInput` for an empty range, for ends that are no whole numbers and, with `log`, for one that reaches 0.
    """
    _check(low, high)
    if int(low) != low or int(high) != high:
        raise InvalidInput(
            "search.not_whole", f"integer({low}, {high}) has ends that are no whole numbers", remedy="Use uniform."
        )
    if log:
        _check_positive(low)
    return Integer(int(low), int(high), log)


def choice(*of: Plain) -> Choice:
    """One of these: texts, numbers, booleans or None. Raises `InvalidInput` for fewer than two, for twins and for other values."""
    if len(of) < 2 or len({(type(value), value) for value in of if _plain(value)}) < len(of):  # noqa: PLR2004 - two
        raise InvalidInput(
            "search.no_choice",
            f"choice{of!r} is not a choice between plain values",
            remedy="Give two or more different texts, numbers, booleans or None.",
        )
    return Choice(of)


def with_middles(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The declared parameters, and the middle of its range for each searched one that has no declared value."""
    return {**{name: found.middle() for name, found in space.items() if name not in params}, **params}


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _check(low: float, high: float) -> None:
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not -math.inf < low < high < math.inf:
        raise InvalidInput(
            "search.empty_range",
            f"the range from {low!r} to {high!r} holds nothing to search",
            remedy="Give low < high.",
        )


def _check_positive(low: float) -> None:
    if low <= 0:
        raise InvalidInput(
            "search.no_logarithm", f"a range from {low!r} has no logarithm", remedy="Start it above 0, or use uniform."
        )
