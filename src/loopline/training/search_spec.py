"""What a model's search is: a space, how many trials, on which folds, and how often."""

from typing import Any

import msgspec

from loopline.errors import InvalidInput
from loopline.training.folds import Folds
from loopline.training.space import Range
from loopline.values import duration


class SearchSpec(msgspec.Struct, frozen=True):
    """`trials` at most, the declared parameters being the first. `timeout`: no trial begins once those before took that long, in
    all; not under a replay's clock. `every`: at a training, search anew where the last search is that long ago. `at_once` trials
    are proposed together, none knowing how the others come out, so that they can be made side by side.
    """

    space: dict[str, Range]
    trials: int = 30
    folds: Folds = Folds()
    timeout: str = ""
    every: str = ""
    at_once: int = 1

    def __post_init__(self) -> None:
        odd = sorted(name for name, found in self.space.items() if not isinstance(found, Range))
        if odd or not self.space:
            raise InvalidInput(
                "search.no_space",
                f"search={self.space!r} is not a space to search",
                remedy="Give each parameter ll.uniform(...), ll.loguniform(...), ll.integer(...) or ll.choice(...).",
            )
        if self.trials < 1:
            raise InvalidInput("search.no_trials", f"{self.trials} trials search nothing", remedy="Give 1 or more.")
        if self.at_once < 1:
            raise InvalidInput("search.none_at_once", f"{self.at_once} trials at once", remedy="Give 1 or more.")
        for text in (self.timeout, self.every):
            if text:
                duration(text)

    def describe(self) -> dict[str, Any]:
        """As plain values, for plans and digests."""
        described: dict[str, Any] = msgspec.to_builtins(self)
        if self.at_once == 1:  # as loops were described before there was another
            del described["at_once"]
        return described
