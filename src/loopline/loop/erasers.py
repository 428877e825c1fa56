"""What a home registers for erasing: the erasers of its parts, in their order, and the search through all of its files."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from loopline.access.erasure import Eraser, Target
from loopline.loop.receipt import Searched


@dataclass(frozen=True)
class Erasing:
    """`erasers` are called one after the other; `search` reads every file afterwards and tells where the person still is.

    `settle` brings what is under way to its tables, where alone it can be told whose it is, and says whether there was any.
    `columns` are those, other than subject columns, that hold an id as a whole value.
    """

    erasers: Sequence[Eraser]
    search: Callable[[Target], Searched]
    settle: Callable[[], bool]
    columns: Callable[[str], Collection[str]]
