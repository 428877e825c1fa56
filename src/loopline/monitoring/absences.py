"""Known values of an input that no longer come: for how long, and for how long they were gone before.

A value that comes again after an absence shows that such an absence is usual for it, and for the value that came in its place. It is nothing new until
it lasts more than twice as long as one did before. And where one value became another, that shows as soon as it is gone, not at some later moment of
a long absence.
"""

from collections.abc import Mapping

_LONGER = 2
_AT_ONCE = 3
_BACK = 0.5


class Absences:
    """Follows the values of each column from one stretch to the next."""

    def __init__(self) -> None:
        self._gone: dict[tuple[str, str], int] = {}
        self._longest: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str], str] = {}
        self._back: dict[str, tuple[int, int]] = {}

    def follow(self, column: str, shares: Mapping[str, tuple[float, float]]) -> None:
        """Take one more stretch in: the share of each value that always came in the reference, and the least that it had there.

        Fewer than half of that are as good as none, once a value is gone.
        """
        ago, length = self._back.get(column, (0, 0))
        self._back[column] = (ago + 1, length)
        for value, (share, least) in shares.items():
            key = (column, value)
            if share >= _BACK * least and share > 0:
                self._came(key)
            elif not share or key in self._gone:
                self._gone[key] = self._gone.get(key, 0) + 1
        ago, length = self._back[column]
        for value in shares:
            key = (column, value)
            if self._gone.get(key) == 1 and ago <= length:
                # It went soon after another came again: they take turns.
                self._longest[key] = max(self._longest.get(key, 0), length)

    def begins(self, column: str, value: str) -> bool:
        """Whether the value has just been gone for longer than is usual for it."""
        beyond = self._beyond((column, value))
        return 0 < beyond <= _AT_ONCE

    def usual(self, column: str, value: str) -> bool:
        """Whether the value was gone for as long before."""
        return self._beyond((column, value)) <= 0

    def tell(self, column: str, value: str, other: str) -> None:
        """What was found of an absence holds until the value comes again: `other` is what it became."""
        self._told[column, value] = other

    def told(self, column: str) -> tuple[str, str] | None:
        """A value that is still gone of which it was told what it became, and that; None where there is none."""
        return next(((value, other) for (name, value), other in self._told.items() if name == column), None)

    def _came(self, key: tuple[str, str]) -> None:
        length = self._gone.pop(key, 0)
        self._told.pop(key, None)
        if length:
            self._longest[key] = max(self._longest.get(key, 0), length)
            self._back[key[0]] = (0, length)

    def _beyond(self, key: tuple[str, str]) -> int:
        return self._gone.get(key, 0) - _LONGER * self._longest.get(key, 0)
