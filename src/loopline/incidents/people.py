"""What a loop declares of the people who run it: who owns it, who is told next, when they sleep, when nothing is changed."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from loopline.errors import InvalidInput
from loopline.incidents.calendar import Span, span
from loopline.values import duration

HELD = ("retrain", "promote")
ROLL_BACK = "roll_back"


class FreezeWindow(msgspec.Struct, frozen=True):
    """A time in which the loop neither retrains nor promotes by itself. `roll_back` says whether it may still roll back."""

    span: Span
    roll_back: bool = True

    def holds(self, action: str, at: datetime) -> datetime | None:
        """Until when (UTC) the action is held at `at`; None where it is not."""
        held = action in HELD or (action == ROLL_BACK and not self.roll_back)
        found = self.span.covering(at) if held else None
        return found[1] if found else None


class People(msgspec.Struct, frozen=True, omit_defaults=True):
    """Owner, the addressees of an escalation in order and after how long, quiet hours, and freeze windows."""

    owner: str = ""
    escalate: tuple[str, ...] = ()
    escalate_after: str = "30m"
    quiet: tuple[Span, ...] = ()
    calm: tuple[FreezeWindow, ...] = ()

    def held_until(self, action: str, at: datetime) -> datetime | None:
        """Until when the freeze windows that cover `at` hold the action; None where none does."""
        return max((until for one in self.calm if (until := one.holds(action, at))), default=None)


def freeze_window(start: str, end: str, *, zone: str = "UTC", roll_back: bool = True) -> FreezeWindow:
    """No automatic retraining or promotion from `start` to `end`; with `roll_back=False` no automatic rollback either.

    `"Fri 18:00"` to `"Mon 08:00"` is every week, `"22:00"` to `"06:00"` every day, `"2026-12-20"` to `"2027-01-02"` once.
    Raises `InvalidInput` as `calendar.span`.
    """
    return FreezeWindow(span(start, end, zone), roll_back)


def quiet_hours(start: str, end: str, *, zone: str = "UTC") -> Span:
    """Hours in which people are told of nothing but critical incidents; the rest comes as one digest after them.

    Bounds are those of `freeze_window`. Raises `InvalidInput` as `calendar.span`.
    """
    return span(start, end, zone)


def people(
    *,
    owner: str = "",
    escalate: Sequence[str] = (),
    escalate_after: str = "30m",
    quiet: Span | Sequence[Span] = (),
    calm: Sequence[FreezeWindow] = (),
) -> People:
    """What was declared, checked. Raises `InvalidInput` for an empty name, and for no time to escalate after."""
    for name in (*([owner] if owner else []), *escalate):
        check_name(name)
    if not duration(escalate_after):
        raise InvalidInput(
            "people.escalates_at_once", f"escalate_after={escalate_after!r} leaves no time", remedy='Write e.g. "30m".'
        )
    spans = (quiet,) if isinstance(quiet, Span) else tuple(quiet)
    wrong: list[object] = [one for one in spans if not isinstance(one, Span)]
    wrong += [one for one in calm if not isinstance(one, FreezeWindow)]
    if wrong:
        raise InvalidInput(
            "people.not_a_window",
            f"{wrong[0]!r} is no window of time",
            remedy="Use ll.quiet_hours(...) for quiet, ll.freeze_window(...) for calm.",
        )
    return People(owner, tuple(escalate), escalate_after, spans, tuple(calm))


def check_name(name: str) -> str:
    """The name of a person or team. Raises `InvalidInput` for one that is empty or not one line."""
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
        raise InvalidInput(
            "people.bad_name", f"{name!r} names nobody", remedy='Write e.g. "team-risk" or "ann@example.org".'
        )
    return name
