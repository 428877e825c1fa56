"""Part (c): streams of many rows where nothing happens. Every page is false."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from watching.contestants import Contestant
from watching.rounds import Answer, Rounds

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


def null_streams(rounds: Rounds) -> None:
    """Independent rows; and rows whose chance of the label has a luck of the day that lasts for days, with inputs that wander a little."""
    plan = rounds.plan
    for law in ("independent", "autocorrelated"):
        for runner in rounds.runners:
            one = runner.contestant
            count = plan.null_rows if one.role == "ours" else min(plan.null_rows, plan.null_peer_rows, one.most_rows)
            of = f"{law} {count:,}"
            rounds.ask(
                ("nulls", of),
                runner,
                partial(_asked, rounds.folder, law, count, one),
                partial(_judged, law, one, count),
                Null,
            )


def _judged(law: str, one: Contestant, rows: int, answer: Answer) -> Null:
    reference, ends = _chunks(rows, one)
    seen = ends[-1] - reference
    years = seen / rows * _days(rows) / 365
    allowed = years if one.role == "ours" else None
    return Null(law, one.name, seen, years, len(answer["pages"]), allowed, answer["seconds"], answer["memory_mb"])


def _days(rows: int) -> int:
    return min(_DAYS, rows // 200)


def _chunks(rows: int, one: Contestant) -> tuple[int, list[int]]:
    """The rows of the reference, and where each later day ends, or each month for who takes seconds a chunk, of which it gets the first."""
    days = _days(rows)
    ends = [round(rows * (day + 1) / days) for day in range(days)]
    cut = round(0.3 * days)
    return ends[cut - 1], ends[cut:][one.null_chunk - 1 :: one.null_chunk][: one.null_chunks]


def _asked(folder: Path, law: str, rows: int, one: Contestant) -> dict[str, object]:
    where = folder / "null.parquet"
    days = _days(rows)
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
    if one.name == "river":
        pl.scan_parquet(where).select("score", "label").sink_csv(where.with_suffix(".csv"))
    reference, ends = _chunks(rows, one)
    return {
        "mode": "faults", "stream": str(where), "reference": reference, "ends": ends, "numbers": names, "categories": texts, "block": "1d",
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
