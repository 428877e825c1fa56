"""Part (f): single series that are made: how often a detector fires where nothing moves, and how soon where the level or the spread moves for good.

Loopline watches by `monitoring.series` with its default, one false alarm in 1,000 values; river's ADWIN, KSWIN and PageHinkley run with their defaults. A null
has `_NULL` values, all of one law. A move comes after `_BEFORE` values of that law, of which the spread is the unit of its size; `_AFTER` values follow.
What fires before it is false, and the first that fires after it finds it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from watching.rounds import Answer, Rounds

Floats = npt.NDArray[np.float64]

_NULL, _BEFORE, _AFTER = 2000, 300, 500
DETECTORS = {"loopline": ("series",), "river": ("ADWIN", "KSWIN", "PageHinkley")}


def _autoregression(carry: float, rng: np.random.Generator, count: int) -> Floats:
    x = np.empty(count + 300)
    last = 0.0
    for place, noise in enumerate(rng.normal(size=count + 300)):
        last = carry * last + noise
        x[place] = last
    return x[300:] * np.sqrt(1 - carry**2)


LAWS: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {
    "independent, normal": lambda rng, count: rng.normal(size=count),
    "independent, Student's t with 3": lambda rng, count: rng.standard_t(3, size=count),
    "independent, counts about 2": lambda rng, count: rng.poisson(2.0, size=count).astype(np.float64),
    "autoregression 0.5": partial(_autoregression, 0.5),
    "autoregression 0.9": partial(_autoregression, 0.9),
    "walk, normal steps": lambda rng, count: np.cumsum(rng.normal(size=count)),
    "walk, steps of Student's t with 3": lambda rng, count: np.cumsum(rng.standard_t(3, size=count)),
}
MOVES = (
    ("independent, normal", 0.5, 1.0),
    ("independent, normal", 1.0, 1.0),
    ("independent, normal", 2.0, 1.0),
    ("independent, normal", 4.0, 1.0),
    ("independent, normal", 0.0, 2.0),
    ("independent, normal", 0.0, 0.5),
    ("autoregression 0.5", 1.0, 1.0),
    ("autoregression 0.5", 2.0, 1.0),
    ("autoregression 0.9", 2.0, 1.0),
)


@dataclass(frozen=True)
class Shifts:
    """`false` is how often it fired where nothing moved, in 1,000 values; of a move, in which share of series it was found and after how many values, in
    the middle, or None."""

    what: str
    contestant: str
    detector: str
    series: int
    false: float
    found: float | None
    delay: float | None


def shifts(rounds: Rounds) -> None:
    """Every law and every move by each detector."""
    for law in LAWS:
        series = [_null(law, seed) for seed in range(rounds.plan.series)]
        _ask(rounds, law, series, _NULL)
    for law, level, scale in MOVES:
        how = f"{level:g} deviations higher" if level else f"{scale:g} times as wide"
        series = [_moved(law, level, scale, seed) for seed in range(rounds.plan.series)]
        _ask(rounds, f"{law}: {how}", series, _BEFORE)


def _ask(rounds: Rounds, what: str, series: list[list[float]], before: int) -> None:
    for runner in rounds.runners:
        who = runner.contestant.name
        for detector in DETECTORS.get(who, ()):
            given = series if runner.contestant.role == "ours" else series[: rounds.plan.peer_series]
            asked = partial(_asked, rounds.folder, given, detector)
            rounds.ask(
                ("shifts", f"{what}, {detector}"), runner, asked, partial(_judged, what, who, detector, before), Shifts
            )


def _null(law: str, seed: int) -> list[float]:
    return LAWS[law](np.random.default_rng([seed, 1]), _NULL).tolist()


def _moved(law: str, level: float, scale: float, seed: int) -> list[float]:
    x = LAWS[law](np.random.default_rng([seed, 2]), _BEFORE + _AFTER)
    x[_BEFORE:] = x[_BEFORE:] * scale + level
    return x.tolist()


def _asked(folder: Path, series: list[list[float]], detector: str) -> dict[str, Any]:
    (folder / "many.json").write_text(json.dumps(series))
    return {"mode": "many", "stream": str(folder / "many.json"), "detector": detector}


def _judged(what: str, contestant: str, detector: str, before: int, answer: Answer) -> Shifts:
    fired = answer["fired"]
    false = sum(row <= before for rows in fired for row in rows)
    delays = [min(row for row in rows if row > before) - before for rows in fired if any(row > before for row in rows)]
    moves = before < _NULL
    rate = 1000 * false / (before * len(fired))
    share, delay = (len(delays) / len(fired), median(delays) if delays else None) if moves else (None, None)
    return Shifts(what, contestant, detector, len(fired), rate, share, delay)
