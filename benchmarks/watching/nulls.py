"""Part (c): streams of many rows where nothing happens. Every page is false."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from watching.rounds import Runner

YEARS = 10
_DAYS = 3650
_PART = 1_000_000
_NUMBERS, _TEXTS = 6, 2


@dataclass(frozen=True)
class Null:
    """`pages` in so many rows and `years`; `allowed` is the budget of that time, all of it false; None for who states none."""

    law: str
    contestant: str
    rows: int
    years: float
    pages: int
    allowed: float | None
    seconds: float
    memory_mb: float


def null_streams(runners: Sequence[Runner], rows: int, folder: Path, say: Callable[[str], None]) -> list[Null]:
    """Independent rows; and rows whose chance of the label has a luck of the day that lasts for days, with inputs that wander a little."""
    found = []
    for law in ("independent", "autocorrelated"):
        for runner in runners:
            if runner.cannot:
                continue
            count = min(rows, runner.contestant.most_rows)
            task = _write(folder, law, count, csv=runner.contestant.name == "river")
            if runner.contestant.name == "evidently":
                task["ends"] = task["ends"][29::30][:24]
            say(f"null {law} {count:,} {runner.contestant.title}")
            answer = runner.run(task, folder, 1500)
            if answer is not None:
                seen = task["ends"][-1]
                share = (seen - task["reference"]) / count
                allowed = YEARS * share if runner.contestant.role == "ours" else None
                found.append(
                    Null(
                        law,
                        runner.contestant.name,
                        seen - task["reference"],
                        YEARS * share,
                        len(answer["pages"]),
                        allowed,
                        answer["seconds"],
                        answer["memory_mb"],
                    )
                )
    return found


def _write(folder: Path, law: str, rows: int, *, csv: bool) -> dict[str, object]:
    where = folder / "null.parquet"
    days = min(_DAYS, rows // 200)
    luck = _luck(days) if law == "autocorrelated" else np.zeros(days)
    wander = _luck(days, 5) if law == "autocorrelated" else np.zeros(days)
    names = [f"number_{place}" for place in range(_NUMBERS)]
    texts = [f"text_{place}" for place in range(_TEXTS)]
    parts = []
    for number, begin in enumerate(range(0, rows, _PART)):
        parts.append(folder / f"null-{number:03}.parquet")
        _part(
            np.random.default_rng([11, number]), np.arange(begin, min(begin + _PART, rows)), rows, days, luck, wander
        ).write_parquet(parts[-1])
    pl.scan_parquet(parts).sink_parquet(where)
    for part in parts:
        part.unlink()
    if csv:
        pl.scan_parquet(where).select("score", "label").sink_csv(where.with_suffix(".csv"))
    ends = [round(rows * (day + 1) / days) for day in range(days)]
    cut = round(0.3 * days)
    return {
        "mode": "faults", "stream": str(where), "reference": ends[cut - 1], "ends": ends[cut:], "numbers": names, "categories": texts, "block": "1d",
    }  # fmt: skip


def _luck(days: int, seed: int = 3) -> np.ndarray:
    """An autoregression of day to day, 0.7, stationary from the first."""
    rng = np.random.default_rng(seed)
    shocks = rng.normal(size=days) * np.sqrt(1 - 0.7**2)
    luck = np.empty(days)
    luck[0] = rng.normal()
    for day in range(1, days):
        luck[day] = 0.7 * luck[day - 1] + shocks[day]
    return luck


def _part(
    rng: np.random.Generator, places: np.ndarray, rows: int, days: int, luck: np.ndarray, wander: np.ndarray
) -> pl.DataFrame:
    day = np.minimum(places * days // rows, days - 1)
    count = len(places)
    numbers = {
        f"number_{place}": rng.normal(size=count) + (0.2 * wander[day] if place < 2 else 0.0)
        for place in range(_NUMBERS)
    }
    texts = {f"text_{place}": rng.choice(np.array(list("abcdefgh")), count) for place in range(_TEXTS)}
    margin = numbers["number_0"] - 1 + 0.5 * (texts["text_0"] == "a")
    score = 1 / (1 + np.exp(-margin))
    chance = 1 / (1 + np.exp(-(margin + 0.2 * luck[day])))
    moment = (places * (days * 86_400_000_000 / rows)).astype(np.int64) + 1_262_304_000_000_000
    at = pl.Series(moment).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {"at": at, "score": score, "label": (rng.random(count) < chance).astype(np.float64), **numbers, **texts}
    )
