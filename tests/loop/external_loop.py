"""A loop that serves nothing: loans are scored elsewhere, their predictions are pushed, outcomes come a day later."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl

import loopline as ll

loop = ll.Loop("credit", turn="1d")

START = datetime(2026, 1, 1, tzinfo=UTC)
EACH = 60
BROKEN_FROM = 20  # from this day on scores mean nothing
HOUR = timedelta(hours=1)


@cache
def made(days: int = 40) -> pl.DataFrame:
    """All loans, with what was predicted and what came of them."""
    rng = np.random.default_rng(6)
    n = days * EACH
    day = np.arange(n) // EACH
    income = rng.uniform(0, 4, n)
    truth = rng.uniform(size=n) < 1 / (1 + np.exp(2 * income - 4))
    score = np.where(
        day < BROKEN_FROM, 1 / (1 + np.exp(2 * income - 4)), rng.permutation(1 / (1 + np.exp(2 * income - 4)))
    )
    at = [
        START + int(one) * timedelta(days=1) + timedelta(minutes=20 * (number % EACH)) + HOUR
        for number, one in enumerate(day)
    ]
    return pl.DataFrame(
        {
            "loan": [f"l{number:05}" for number in range(n)],
            "asked_at": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "pd": score,
            "income": income,
            "branch": rng.choice(["north", "south"], n),
            "release": np.where(day < 10, "2025-12", "2026-01"),
            "defaulted": truth,
        }
    )  # fmt: skip


def scored_in(window: ll.Window) -> pl.DataFrame:
    rows = made().drop("defaulted").with_columns(received_at=pl.col("asked_at"))
    return rows.filter(pl.col("received_at").is_between(window.start, window.end, closed="right"))


COLUMNS = {
    "loan": pl.String,
    "asked_at": pl.Datetime("us", "UTC"),
    "pd": pl.Float64,
    "income": pl.Float64,
    "branch": pl.String,
    "release": pl.String,
}
scored = loop.pushed(name="scored", key="loan", event_time="asked_at", columns=COLUMNS, history=scored_in)


@loop.source(key="loan", event_time="seen_at", known_at="seen_at")
def outcomes(window: ll.Window) -> pl.DataFrame:
    rows = made().select("loan", "defaulted", seen_at=pl.col("asked_at") + 20 * HOUR)
    return rows.filter(pl.col("seen_at").is_between(window.start, window.end, closed="right"))


default = loop.external(
    "default",
    predictions=scored,
    score="pd",
    features=["income", ll.category("branch")],
    version="release",
    label=ll.label(outcomes, pl.col("defaulted"), matures="1d"),
)

loop.operate(
    default,
    decide=ll.costs(false_positive=1, false_negative=3, abstain_at_most=0.05),
    watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=4, min_rows=20),
    respond=[ll.on(ll.harm, ll.notify)],
    first_after="8d",
    review=ll.review(0.05, expires="40d"),
)
