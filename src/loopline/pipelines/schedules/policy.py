"""What becomes of ticks that were missed: while everything was down, or a scheduler could not start them."""

from datetime import timedelta
from typing import Literal, get_args

import msgspec

from loopline.errors import InvalidInput
from loopline.values import duration

CatchUp = Literal["all", "latest", "none"]

GRACE = "5m"


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """`"all"`: each missed tick is started, oldest first. `"latest"`: only the last. `"none"`: none.

    `within` is how late a tick may still start; those that are later are passed over. Unset, `"all"` and `"latest"` look back
    without limit, and `"none"` takes what is up to five minutes late for being in time.
    """

    catch_up: CatchUp = "all"
    within: str = ""

    @property
    def limit(self) -> timedelta | None:
        """How late a tick may start; None for any time."""
        text = self.within or (GRACE if self.catch_up == "none" else "")
        return duration(text) if text else None


def catching_up(catch_up: CatchUp, within: str = "") -> Policy:
    """The policy, checked. Raises `InvalidInput`."""
    if catch_up not in get_args(CatchUp):
        raise InvalidInput(
            "schedule.unknown_catch_up",
            f"catch_up={catch_up!r} is none of {', '.join(get_args(CatchUp))}",
            remedy='Write catch_up="all", "latest" or "none".',
        )
    if within and not duration(within):
        raise InvalidInput(
            "schedule.no_time_to_start",
            f"within={within!r} leaves no tick the time to start",
            remedy='Write e.g. "2h".',
        )
    return Policy(catch_up, within)
