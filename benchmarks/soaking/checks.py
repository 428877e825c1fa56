"""What must hold of a soak, each with what was found against it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from soaking.clients import Answered, Heard, Lost
from soaking.site import Reign, expected
from soaking.workers import Killed

TOLERANCE = 1e-6

_NOTICED = 10.0  # seconds in which a caller notices that its connection is gone


@dataclass(frozen=True)
class Bounds:
    """Seconds: within `back` of a kill all workers answer again; `follows` after a swap nobody answers from what was before."""

    back: float = 2.0
    follows: float = 5.0


@dataclass(frozen=True)
class Check:
    """`found` is empty where it holds."""

    what: str
    found: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.found


def check(
    heard: Heard, kills: Sequence[Killed], reigns: Sequence[Reign], table: pl.DataFrame, bounds: Bounds
) -> list[Check]:
    """All of them."""
    return [
        Check("every answer is a 200 with the keys that were asked", _some(heard.refused)),
        Check(
            "failed requests are only those on the connections of a killed worker", _some(_unexplained(heard, kills))
        ),
        Check(
            "every acknowledged prediction is in the table exactly once, as it was answered",
            _some(_table(heard, table)),
        ),
        Check(
            "what is in the table and was not acknowledged was asked by a failed request", _some(_unasked(heard, table))
        ),
        Check(
            "answers come from the champion that was in force",
            _some(_out_of_force(heard.answered, reigns, bounds.follows)),
        ),
        Check("each score is that of the version and the row it is said to be of", _some(_wrong(heard.answered))),
        Check(f"all workers answer again within {bounds.back:g} s of a kill", _some(_slow(kills, bounds.back))),
        Check("whoever says that it is ready can predict", _some([f"{one.lies} times" for one in kills if one.lies])),
    ]


def figures(heard: Heard, kills: Sequence[Killed], seconds: float) -> dict[str, Any]:
    """The figures of a soak."""
    back = [one.back for one in kills if one.back is not None]
    took = sorted(one.got - one.sent for one in heard.answered)
    return {
        "requests": heard.requests,
        "predictions": len(heard.answered),
        "failed": len(heard.lost),
        "connections_of_killed": sum(len(one.ports) for one in kills),
        "slowest_return_s": round(max(back), 3) if back else None,
        "median_return_s": round(sorted(back)[len(back) // 2], 3) if back else None,
        "requests_per_second": round(heard.requests / seconds, 1),
        "p99_ms": round(took[int(0.99 * len(took))] * 1e3, 1) if took else None,
        "seconds": round(seconds, 1),
    }


def _unexplained(heard: Heard, kills: Sequence[Killed]) -> list[str]:
    """A connection of a killed worker may lose one request: the one under way, or the first that was sent to nobody."""
    left = {(number, port) for number, one in enumerate(kills) for port in one.ports}
    found = []
    for lost in heard.lost:
        causes = [
            (number, lost.port) for number, one in enumerate(kills) if one.at <= lost.given_up <= one.at + _NOTICED
        ]
        cause = next((one for one in causes if one in left), None)
        if cause is None:
            found.append(_told(lost))
        left.discard(cause)  # type: ignore[arg-type]
    return found


def _table(heard: Heard, table: pl.DataFrame) -> list[str]:
    held = {row["prediction_id"]: row for row in table.iter_rows(named=True)}
    times = Counter(table["prediction_id"].to_list())
    found = [f"{name} is there {count} times" for name, count in times.items() if count > 1]
    answered = Counter(one.prediction_id for one in heard.answered)
    found += [f"{name} was given {count} times" for name, count in answered.items() if count > 1]
    for one in heard.answered:
        row = held.get(one.prediction_id)
        if row is None:
            found.append(f"{one} is not there")
        elif (row["_key"], row["model_version"], row["score"]) != (one.key, one.version, one.score):
            found.append(f"{one} is there as {row}")
    return found


def _unasked(heard: Heard, table: pl.DataFrame) -> list[str]:
    acknowledged = {one.prediction_id for one in heard.answered}
    asked = Counter(key for lost in heard.lost for key in lost.keys)
    others = table.filter(~pl.col("prediction_id").is_in(acknowledged))
    return [f"{key}" for key in others["_key"] if not asked[key]]


def _out_of_force(answered: Sequence[Answered], reigns: Sequence[Reign], follows: float) -> list[str]:
    by_version: dict[int, list[Reign]] = {}
    for reign in reigns:
        by_version.setdefault(reign.version, []).append(reign)
    return [
        str(one)
        for one in answered
        if one.variant != "champion"
        or not any(_in_force(one, reign, follows) for reign in by_version.get(one.version, ()))
    ]


def _in_force(one: Answered, reign: Reign, follows: float) -> bool:
    return reign.since <= one.got and (reign.until is None or one.sent <= reign.until + follows)


def _wrong(answered: Sequence[Answered]) -> list[str]:
    return [str(one) for one in answered if abs(one.score - expected(one.version, one.row)) > TOLERANCE]


def _slow(kills: Sequence[Killed], seconds: float) -> list[str]:
    return [f"{one.back} s" for one in kills if one.back is None or one.back > seconds]


def _told(lost: Lost) -> str:
    return f"{lost.keys[0]} from port {lost.port}, {lost.given_up - lost.sent:.3f} s: {lost.why}"


def _some(found: Sequence[str]) -> tuple[str, ...]:
    """Enough to go by."""
    return (*found[:5], f"and {len(found) - 5} more") if len(found) > 5 else tuple(found)  # noqa: PLR2004 - enough
