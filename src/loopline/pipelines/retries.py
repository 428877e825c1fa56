"""When a failed step is tried again: by the class of what went wrong, later each time, with a wait that is derived."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.healing.classes import CLASSES
from loopline.pipelines.healing.remedies import Retry
from loopline.values import duration

TRANSIENT = ("capacity", "dependency", "timeout")
_FOREVER = 1000


class Retrying(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step row keeps: how many times, the waits in milliseconds, and on what."""

    times: int = 0
    first: int = 1000
    at_most: int = 300_000
    on: tuple[str, ...] = TRANSIENT

    def takes(self, error_class: str, kinds: Sequence[str]) -> bool:
        """Whether there is a retry at all for an error of this class and these kinds of exception."""
        return self.times > 0 and (error_class in self.on or any(kind in self.on for kind in kinds))

    @property
    def remedy(self) -> Retry:
        """As a remedy; waits are in whole seconds there."""
        first, at_most = (f"{ceil(one / 1000)}s" for one in (self.first, self.at_most))
        return Retry(times=self.times, first=first, at_most=at_most)


class Retries:
    """How often a step is tried again, and on what.

    `times` is how many further attempts there may be. The first wait is `first`, the next twice as long and so on, never longer than
    `at_most`; each is shortened by up to half, so that many that failed together do not come back together. `on` names classes of errors (data, access,
    capacity, code, dependency, timeout) or types of exceptions; by default capacity, dependency and timeout: what fails on its data or by
    a mistake in the code fails again. Raises `InvalidInput` "step.retries".
    """

    def __init__(
        self,
        times: int,
        first: str | timedelta = "1s",
        at_most: str | timedelta = "5m",
        *,
        on: Sequence[str | type[BaseException]] = TRANSIENT,
    ) -> None:
        wrong = [one for one in on if isinstance(one, str) and one not in CLASSES]
        if wrong or not 0 <= times <= _FOREVER:
            raise InvalidInput(
                "step.retries",
                f"there is no class of errors {wrong[0]!r}" if wrong else f"{times} is no number of retries",
                remedy=f"Give 0 to {_FOREVER} times, and classes of {', '.join(CLASSES)} or types of exceptions.",
            )
        names = tuple(one if isinstance(one, str) else kind_of(one) for one in on)
        self.kept = Retrying(times, _milliseconds(first), _milliseconds(at_most), names)

    @classmethod
    def of(cls, given: "int | Retries") -> Retrying:
        """What is kept of a count or of `Retries`."""
        return (cls(given) if isinstance(given, int) else given).kept


def kind_of(exception: type[BaseException]) -> str:
    """The name of an exception's type as failures carry it."""
    return f"{exception.__module__}.{exception.__qualname__}"


def _milliseconds(given: str | timedelta) -> int:
    return duration(given) // timedelta(milliseconds=1)
