"""The results as Markdown: what was found, and whether the goals are met."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from watching.contestants import EVERYBODY

TRUE_CAUSES, TIMES = 0.8, 10.0

Results = Mapping[str, Sequence[Any]]
_TITLES = {one.name: one.title for one in EVERYBODY}


def markdown(results: Results, cannot: Sequence[str]) -> str:
    """Everything, to be printed."""
    parts = [_goals(results)]
    for part, title in (
        ("faults", "Faults planted in the flights"),
        ("held_out", "Faults planted in streams that nothing was looked at for"),
    ):
        if part in results:
            parts += [f"### {title}", _incidents(results[part]), _by_kind(results[part])]
    if "nulls" in results:
        parts += ["### Streams where nothing happens", _nulls(results["nulls"])]
    if "changes" in results:
        parts += ["### River's annotated series", _changes(results["changes"])]
    if "shifts" in results:
        parts += ["### Single series that are made", *_shifts(results["shifts"])]
    if "size" in results:
        parts += ["### Seconds and memory", _sizes(results["size"])]
    return "\n\n".join([*parts, "\n".join(f"- {one}" for one in cannot)]).strip()


def goals(results: Results) -> list[dict[str, Any]]:
    """Each goal with what was found; those that nothing was measured for are left out."""
    found: list[dict[str, Any]] = []
    for part in ("faults", "held_out"):
        ours = [one for one in results.get(part, ()) if one.contestant == "loopline"]
        costly = [one for one in ours if one.costly]
        if costly:
            seen = sum(one.delay is not None for one in costly) / len(costly)
            found.append(_goal(f"{part}: every costly fault is found", f"{seen:.0%} of {len(costly)}", met=seen == 1))
            for when, ranks in (
                ("on the day of the page", [one.rank_at_page for one in costly]),
                ("at the stream's end", [one.rank for one in costly]),
            ):
                first = ranks.count(1) / len(costly)
                goal = f"{part}: the true cause of costly faults first in 8 of 10, {when}"
                found.append(_goal(goal, f"{first:.0%}", met=first >= TRUE_CAUSES))
            found += _quicker(part, results[part], ours)
    for one in results.get("nulls", ()):
        if one.allowed is not None:
            found.append(
                _goal(
                    f"nulls, {one.law}: false pages within the budget of {one.allowed:.1f}",
                    str(one.pages),
                    met=one.pages <= one.allowed,
                )
            )
    million = [one for one in results.get("size", ()) if one.rows == 1_000_000]
    mine = next((one for one in million if one.contestant == "loopline"), None)
    peers = [one.cpu for one in million if one.contestant != "loopline"]
    if mine is not None and peers:
        ahead = min(peers) / mine.cpu
        found.append(
            _goal(
                "1M x 25 in a tenth of the fastest peer's processor time",
                f"{ahead:.1f} times as fast",
                met=ahead >= TIMES,
            )
        )
    return found


def _quicker(part: str, everything: Sequence[Any], ours: Sequence[Any]) -> list[dict[str, Any]]:
    """Sooner than each peer that pages falsely no more often, on the costly faults that both looked at."""
    found = []
    for peer in dict.fromkeys(one.contestant for one in everything if one.contestant != "loopline"):
        theirs = {(one.stream, one.kind, one.seed): one for one in everything if one.contestant == peer and one.costly}
        both = [(one, theirs[key]) for one in ours if (key := (one.stream, one.kind, one.seed)) in theirs]
        if not both or _false([one for _, one in both]) > _false([one for one, _ in both]):
            continue
        sooner = sum(_delay(mine) <= _delay(other) for mine, other in both)
        found.append(
            _goal(
                f"{part}: no later than {_TITLES[peer]}, which pages falsely no more",
                f"{sooner} of {len(both)}",
                met=sooner == len(both),
            )
        )
    return found


def _delay(one: Any) -> float:
    return float("inf") if one.delay is None else float(one.delay)


def _false(trials: Sequence[Any]) -> float:
    return sum(one.false_pages for one in trials) / max(sum(one.rows_before for one in trials), 1) * 1e6


def _goal(goal: str, found: str, *, met: bool) -> dict[str, Any]:
    return {"goal": goal, "found": found, "met": met}


def _goals(results: Results) -> str:
    return "\n".join(
        f"- {one['goal']}: {one['found']}, **{'met' if one['met'] else 'not met'}**" for one in goals(results)
    )


def _incidents(trials: Sequence[Any]) -> str:
    lines = [
        "| | trials | costly | found | costly found | rows until the page, median | false pages per million rows | true cause first | ... of costly | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.contestant for one in trials):
        mine = [one for one in trials if one.contestant == name]
        costly = [one for one in mine if one.costly]
        delays = [one.delay for one in costly if one.delay is not None]
        row = [
            str(len(mine)), str(len(costly)), _share(one.delay is not None for one in mine), _share(one.delay is not None for one in costly),
            f"{median(delays):,.0f}" if delays else "", f"{_false(mine):.2f}", _share(one.rank == 1 for one in mine),
            _share(one.rank == 1 for one in costly), f"{median(one.seconds for one in mine):.1f}",
        ]  # fmt: skip
        lines.append(f"| {_TITLES[name]} | {' | '.join(row)} |")
    return "\n".join(lines)


def _by_kind(trials: Sequence[Any]) -> str:
    mine = [one for one in trials if one.contestant == "loopline"]
    lines = [
        "Loopline by kind of fault:",
        "",
        "| | trials | costly | found | costly found | rows until the page, median | true cause first | ... of costly |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stream, kind in dict.fromkeys((one.stream, one.kind) for one in mine):
        these = [one for one in mine if (one.stream, one.kind) == (stream, kind)]
        costly = [one for one in these if one.costly]
        delays = [one.delay for one in these if one.delay is not None]
        row = [
            str(len(these)), str(len(costly)), _share(one.delay is not None for one in these), _share(one.delay is not None for one in costly),
            f"{median(delays):,.0f}" if delays else "", _share(one.rank == 1 for one in these), _share(one.rank == 1 for one in costly),
        ]  # fmt: skip
        lines.append(f"| {stream}: {kind.replace('_', ' ')} | {' | '.join(row)} |")
    return "\n".join(lines)


def _share(given: Any) -> str:
    told = list(given)
    return f"{sum(told)}/{len(told)}" if told else ""


def _nulls(found: Sequence[Any]) -> str:
    lines = [
        "| | rows | years | pages | allowed | pages per million rows | seconds | memory, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        allowed = "" if one.allowed is None else f"{one.allowed:.1f}"
        row = [
            f"{one.rows:,}",
            f"{one.years:.1f}",
            f"{one.pages:,}",
            allowed,
            f"{one.pages / one.rows * 1e6:,.1f}",
            f"{one.seconds:.0f}",
            f"{one.memory_mb:,.0f}",
        ]
        lines.append(f"| {_TITLES[one.contestant]}, {one.law} | {' | '.join(row)} |")
    return "\n".join(lines)


def _shifts(found: Sequence[Any]) -> list[str]:
    """How often each detector fires for nothing, and what it finds how soon."""
    detectors = list(dict.fromkeys(one.detector for one in found))
    by_what: dict[str, dict[str, Any]] = {}
    for one in found:
        by_what.setdefault(one.what, {})[one.detector] = one
    head = [f"| {' | '.join(['', *detectors])} |", f"|{'---|' * (len(detectors) + 1)}"]
    nulls = [(what, row) for what, row in by_what.items() if next(iter(row.values())).found is None]
    moves = [(what, row) for what, row in by_what.items() if next(iter(row.values())).found is not None]
    false = [
        f"| {what} | {' | '.join(f'{row[one].false:.2f}' if one in row else '-' for one in detectors)} |"
        for what, row in nulls
    ]
    seen = [
        f"| {what} | {' | '.join(_seen(row[one]) if one in row else '-' for one in detectors)} |" for what, row in moves
    ]
    return [
        "Fired in 1,000 values where nothing moves:\n\n" + "\n".join([*head, *false]),
        "Found, after how many values in the middle, and fired in 1,000 values before:\n\n" + "\n".join([*head, *seen]),
    ]


def _seen(one: Any) -> str:
    return f"{one.found:.0%}, {'-' if one.delay is None else f'{one.delay:g}'} ({one.false:.2f})"


def _changes(found: Sequence[Any]) -> str:
    lines = ["| | rows | marks | found | near no mark |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.series}: {_TITLES[one.contestant]} | {one.rows:,} | {one.marks} | {one.found} | {one.false} |"
        for one in found
    ]
    return "\n".join(lines)


def _sizes(found: Sequence[Any]) -> str:
    lines = ["| | rows x 25 | seconds | processor seconds | memory, MB |", "|---|---|---|---|---|"]
    lines += [
        f"| {_TITLES[one.contestant]} | {one.rows:,} | {one.seconds:,.2f} | {one.cpu:,.2f} | {one.memory_mb:,.0f} |"
        for one in found
    ]
    return "\n".join(lines)
