"""What is made once for an object that is served, and goes with it."""

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Owner = TypeVar("Owner")
Made = TypeVar("Made")


class MadeOnce(Generic[Owner, Made]):
    """What `make` gives for each owner, made when it is first asked for. Used by one event loop.

    Nearly every request asks for the same owner as the one before it: that one is found without the dictionary, whose look-up costs more
    than some stages of a prediction.
    """

    def __init__(self, make: Callable[[Owner], Made]) -> None:
        self._make = make
        self._known: WeakKeyDictionary[Owner, Made] = WeakKeyDictionary()
        self._last: tuple[Owner, Made] | None = None

    def of(self, owner: Owner) -> Made:
        """The owner's own."""
        if self._last is None or self._last[0] is not owner:
            if owner not in self._known:
                self._known[owner] = self._make(owner)
            self._last = owner, self._known[owner]
        return self._last[1]
