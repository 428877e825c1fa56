"""What a home registers for erasing: the erasers of its parts, in their order, and the search through all of its files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loopline.access.erasure import Eraser, Target
from loopline.loop.receipt import Searched


@dataclass(frozen=True)
class Erasing:
    """`erasers` are called one after the other; `search` reads every file afterwards and tells where the person still is."""

    erasers: Sequence[Eraser]
    search: Callable[[Target], Searched]
