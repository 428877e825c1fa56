"""What healing hides: remedies used ever more often, retries that need ever more tries, one source behind many errors, an hour in
which things fail. Each finding is a sentence with its figures, and is made only where chance alone would seldom do the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from loopline.pipelines.healing.chances import at_least, rises
from loopline.pipelines.healing.patterns import first_failures
from loopline.pipelines.healing.record import Failure, Remedied
from loopline.values import duration_text

SELDOM = 0.01  # divided by how many things of a kind are looked at
_FEW = 8
_TWICE = 2.0
_HALF_MORE = 1.5
_STEPS, _SHARE = 3, 1 / 3
_HOURS = 24

Key = tuple[str, str]
One = TypeVar("One")


class Deeper(msgspec.Struct, frozen=True, kw_only=True):
    """One finding, with what it speaks of and how likely chance alone would bring as much."""

    kind: Literal["remedy_rising", "retries_rising", "one_source", "one_hour"]
    sentence: str
    chance: float
    evidence: dict[str, Any]


def deeper(
    failures: Sequence[Failure],
    remedies: Sequence[Remedied],
    *,
    start: datetime,
    end: datetime,
    ran: Sequence[datetime] | None = None,
) -> list[Deeper]:
    """All findings in (start, end], the least likely by chance first.

    `ran` are the times (UTC) at which executions began, failed or not: without them nothing is said of hours, since a pipeline
    that runs at two in the morning fails at two in the morning.
    """
    found = [*_remedies_rising(remedies, start, end), *_retries_rising(remedies), *_one_source(failures)]
    if ran is not None:
        found += _one_hour(failures, ran)
    return sorted(found, key=lambda one: (one.chance, one.sentence))


def _remedies_rising(remedies: Sequence[Remedied], start: datetime, end: datetime) -> list[Deeper]:
    """The same remedy at least twice as often in the later half as in the earlier one. What is watched begins with the first of
    them: before, there may have been nothing to watch.
    """
    groups = _grouped(remedies, lambda one: (f"{one.pipeline}.{one.step}", one.kind))
    looked_at = {key: group for key, group in groups.items() if len(group) > _FEW}
    found = []
    for (step, kind), group in looked_at.items():
        first, *rest = group
        begun = max(start, first.at)
        middle = begun + (end - begun) / 2
        later = sum(one.at > middle for one in rest)
        earlier = len(rest) - later
        chance = at_least(later, len(rest), 0.5)
        if chance < SELDOM / len(looked_at) and later >= _TWICE * earlier:
            half = duration_text(end - middle)
            found.append(
                Deeper(
                    kind="remedy_rising",
                    sentence=f"{step} needed {_words(kind)} {_times(later)} in the last {half} and {_times(earlier)} in as long "
                    f"before: what it covers is getting worse.",
                    chance=chance,
                    evidence={"step": step, "remedy": kind, "earlier": earlier, "later": later, "half": half},
                )
            )
    return found


def _retries_rising(remedies: Sequence[Remedied]) -> list[Deeper]:
    """Retries that helped, by which of them did: the later half needed clearly more than the earlier."""
    helped = [one for one in remedies if one.kind in {"retry", "wait"} and one.outcome == "helped"]
    groups = _grouped(helped, lambda one: (f"{one.pipeline}.{one.step}", ""))
    looked_at = {key[0]: group for key, group in groups.items() if len(group) >= _FEW}
    found = []
    for step, group in looked_at.items():
        numbers = [one.number for one in group]
        earlier, later = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
        before, now = sum(earlier) / len(earlier), sum(later) / len(later)
        chance = rises(earlier, later)
        if chance < SELDOM / len(looked_at) and now >= _HALF_MORE * before:
            found.append(
                Deeper(
                    kind="retries_rising",
                    sentence=f"{step} still gets there by trying again, but it takes {now:.1f} tries instead of {before:.1f} "
                    f"(the later {len(later)} of {len(numbers)} times against the earlier): soon retries will not do.",
                    chance=chance,
                    evidence={"step": step, "earlier": before, "later": now, "times": len(numbers)},
                )
            )
    return found


def _one_source(failures: Sequence[Failure]) -> list[Deeper]:
    """A source behind a third of all failures, and behind those of three steps or more."""
    news = first_failures(failures)
    counted = Counter(one.source for one in news if one.source)
    found = []
    for source, count in counted.items():
        mine = [one for one in news if one.source == source]
        steps = {(one.pipeline, one.step) for one in mine}
        if count < _FEW or len(steps) < _STEPS or count < _SHARE * len(news):
            continue
        pipelines = len({pipeline for pipeline, _ in steps})
        chance = at_least(count, len(news), 1 / max(len(counted), 2))
        found.append(
            Deeper(
                kind="one_source",
                sentence=f"{source} is behind {count} of {len(news)} failures, in {len(steps)} steps of {pipelines} "
                f"{'pipeline' if pipelines == 1 else 'pipelines'}: mend it once instead of each step.",
                chance=chance,
                evidence={"source": source, "failures": count, "of": len(news), "steps": len(steps)},
            )
        )
    return found


def _one_hour(failures: Sequence[Failure], ran: Sequence[datetime]) -> list[Deeper]:
    """An hour of the day in which one kind of error falls more often than executions do."""
    hours = Counter(at.hour for at in ran)
    groups = _grouped(first_failures(failures), lambda one: (one.name, one.fingerprint))
    looked_at = {key: group for key, group in groups.items() if len(group) >= _FEW}
    found = []
    for (name, fingerprint), group in looked_at.items():
        hour, count = Counter(one.at.hour for one in group).most_common(1)[0]
        usual = hours[hour] / len(ran) if ran else 1.0
        chance = min(1.0, _HOURS * at_least(count, len(group), usual))
        if chance < SELDOM / len(looked_at) and count >= _TWICE * usual * len(group):
            found.append(
                Deeper(
                    kind="one_hour",
                    sentence=f"{count} of {len(group)} failures by {name} fell between {hour:02d}:00 and {hour + 1:02d}:00 UTC, "
                    f"where {usual:.0%} of executions begin: look what else happens then.",
                    chance=chance,
                    evidence={
                        "fingerprint": fingerprint,
                        "hour": hour,
                        "failures": count,
                        "of": len(group),
                        "usual": usual,
                    },
                )
            )
    return found


def _grouped(many: Iterable[One], key: Callable[[One], Key]) -> dict[Key, list[One]]:
    groups: dict[Key, list[One]] = {}
    for one in many:
        groups.setdefault(key(one), []).append(one)
    return groups


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _words(kind: str) -> str:
    return {
        "last_good": "an older result",
        "fall_back": "its fall-back",
        "skip_window": "its window to be skipped",
    }.get(kind, kind.replace("_", " "))
