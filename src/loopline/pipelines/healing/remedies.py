"""Remedies: what a loop file declares to be tried against an error, in order. Pure data.

heal=[
    ll.when("access", ll.wait("2h"), ll.last_good, ll.page("team-data")),
    ll.when("data", ll.quarantine_rows, ll.skip_window(backfill_after="1d")),
    ll.when(["capacity", "timeout"], ll.retry(5, first="30s")),
]
"""

from collections.abc import Callable, Sequence

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.healing.classes import CLASSES
from loopline.values import duration

ANY = "any"


class Retry(msgspec.Struct, frozen=True, tag="retry", kw_only=True):
    """Try again, up to `times`, after waits that double from `first` to `at_most`, each shortened by up to half by chance."""

    times: int = 3
    first: str = "10s"
    at_most: str = "10m"


class Wait(msgspec.Struct, frozen=True, tag="wait", kw_only=True):
    """Wait for the source: try again `every` so often until it has been waited for as long as `at_most`."""

    at_most: str
    every: str = "5m"


class QuarantineRows(msgspec.Struct, frozen=True, tag="quarantine_rows"):
    """Set aside the rows that the step says are wrong (`BadRows`), and go on with the rest."""


class LastGood(msgspec.Struct, frozen=True, tag="last_good", kw_only=True, omit_defaults=True):
    """Go on with what the step gave the last time it was done; not with what is older than `max_age`, if given."""

    max_age: str = ""

    def __call__(self, *, max_age: str) -> "LastGood":
        """The same with a limit. Raises `InvalidInput` for an unreadable duration."""
        duration(max_age)
        return LastGood(max_age=max_age)


class FallBack(msgspec.Struct, frozen=True, tag="fall_back", kw_only=True, omit_defaults=True):
    """Call another step, by its name, with the same arguments; `function` is its `module:qualname`, where that is known."""

    step: str
    function: str = ""


class SkipWindow(msgspec.Struct, frozen=True, tag="skip_window", kw_only=True, omit_defaults=True):
    """Skip this execution's window, and execute it again `backfill_after` that time, up to `times`; empty: never."""

    backfill_after: str = ""
    times: int = 3

    def __call__(self, *, backfill_after: str, times: int = 3) -> "SkipWindow":
        """The same with a back-fill. Raises `InvalidInput` for an unreadable duration, and less than one time."""
        duration(backfill_after)
        return SkipWindow(backfill_after=backfill_after, times=_positive(times))


class Page(msgspec.Struct, frozen=True, tag="page", kw_only=True, omit_defaults=True):
    """Page a person: `to`, or the owner of the pipeline. The step has failed then."""

    to: str = ""

    def __call__(self, to: str) -> "Page":
        """The same for somebody."""
        return Page(to=to)


Remedy = Retry | Wait | QuarantineRows | LastGood | FallBack | SkipWindow | Page

quarantine_rows = QuarantineRows()
last_good = LastGood()
skip_window = SkipWindow()
page = Page()


class When(msgspec.Struct, frozen=True, kw_only=True):
    """Against errors of these kinds (classes, names of exceptions, codes, or `"any"`), these remedies, one after the other."""

    kinds: tuple[str, ...]
    remedies: tuple[Remedy, ...]

    def takes(self, class_: str, name: str, code: str) -> bool:
        """Whether it is for an error of this class, name and code."""
        return not {ANY, class_, name, name.rpartition(".")[2], code}.isdisjoint(self.kinds)


def when(kinds: str | Sequence[str], *remedies: Remedy) -> When:
    """Against errors of a class (`"access"`, ...), an exception's name, one of our codes, or `"any"`: try these remedies in order.

    The next is tried where one has failed; after the last the step has failed. The first `when` that fits an error is taken.
    Raises `InvalidInput` without a remedy, for what is none, and for one behind `page` or `skip_window`, which end it.
    """
    named = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    _check_kinds(named)
    wrong = [one for one in remedies if not isinstance(one, Remedy)]
    if wrong or not remedies:
        raise InvalidInput(
            "healing.not_a_remedy",
            f"{wrong[0]!r} is no remedy" if wrong else f"nothing is to be tried against {', '.join(named)}",
            remedy="Use ll.retry(...), ll.wait(...), ll.quarantine_rows, ll.last_good, ll.fall_back(...), ll.skip_window, ll.page.",
        )
    if any(isinstance(one, (Page, SkipWindow)) for one in remedies[:-1]):
        raise InvalidInput(
            "healing.behind_the_end",
            "what stands behind ll.page or ll.skip_window is never tried",
            remedy="Put it last; ll.skip_window tells people, too.",
        )
    return When(kinds=named, remedies=remedies)


def retry(times: int = 3, *, first: str = "10s", at_most: str = "10m") -> Retry:
    """Try again, up to `times`, after ever longer waits. Raises `InvalidInput`."""
    duration(first)
    duration(at_most)
    return Retry(times=_positive(times), first=first, at_most=at_most)


def wait(at_most: str, *, every: str = "5m") -> Wait:
    """Wait for the source up to so long, trying it `every` so often. Raises `InvalidInput` for no time."""
    if not duration(at_most) or not duration(every):
        raise InvalidInput(
            "healing.no_time", f"wait({at_most!r}, every={every!r}) leaves no time", remedy='Write e.g. "2h".'
        )
    return Wait(at_most=at_most, every=every)


def fall_back(step: str | Callable[..., object]) -> FallBack:
    """Call another step, or one of that name, with the same arguments. Raises `InvalidInput` for what has no name."""
    name = step if isinstance(step, str) else str(getattr(step, "name", getattr(step, "__name__", "")))
    if not name:
        raise InvalidInput("healing.no_step", f"{step!r} names no step", remedy="Give a step, or its name.")
    qualified = getattr(step, "__qualname__", "")
    return FallBack(step=name, function=f"{step.__module__}:{qualified}" if qualified else "")


def of_heal(heal: When | Sequence[When] | None) -> tuple[When, ...]:
    """What a step or pipeline declares under `heal`, checked. Raises `InvalidInput`."""
    found = (heal,) if isinstance(heal, When) else tuple(heal or ())
    wrong = [one for one in found if not isinstance(one, When)]
    if wrong:
        raise InvalidInput(
            "healing.not_a_when", f"{wrong[0]!r} does not say when", remedy='Write ll.when("access", ll.wait("2h")).'
        )
    return found


def _check_kinds(kinds: tuple[str, ...]) -> None:
    unknown = [one for one in kinds if not one or (one.islower() and "." not in one and one not in {*CLASSES, ANY})]
    if unknown or not kinds:
        raise InvalidInput(
            "healing.unknown_kind",
            f"{', '.join(map(repr, unknown)) or 'nothing'} is no class of errors",
            remedy=f"Write {', '.join(CLASSES)}, any, the name of an exception, or a code such as source.stale.",
        )


def _positive(times: int) -> int:
    if times < 1:
        raise InvalidInput("healing.no_times", f"{times} times is never", remedy="Give one or more.")
    return times
