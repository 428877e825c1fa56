"""Streams that nothing was looked at for while Loopline was built: two that come with NannyML, one with statsmodels, each with a model of its first part."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from serving.environments import CannotInstall
from watching.rounds import files_of
from watching.streams import Stream, train

_DAYS = 150
_LEARNT = 0.25


def _files() -> Path:
    """Where the package of the peer has its data."""
    found = files_of("nannyml", "nannyml/datasets/data")
    if found is None:
        message = "these streams come with NannyML, which cannot be installed here"
        raise CannotInstall(message)
    return found


def _timed(rows: pl.DataFrame, days: int = _DAYS) -> pl.DataFrame:
    """Rows in their order, spread evenly over so many days."""
    step = days * 86_400_000_000 // len(rows)
    at = (pl.int_range(0, len(rows)) * step).cast(pl.Datetime("us")).dt.offset_by("40y").dt.replace_time_zone("UTC")
    return rows.with_columns(at=at)


def _made(
    name: str,
    rows: pl.DataFrame,
    numbers: Sequence[str],
    texts: Sequence[str],
    slices: str,
    feed: Sequence[str],
    feed_by: str,
) -> Stream:
    rows = _timed(rows.with_columns(pl.col(numbers).cast(pl.Float64), pl.col(texts).cast(pl.String)))
    features = (*numbers, *texts)
    cut = int(_LEARNT * len(rows))
    model = train(rows[:cut], features)
    kept = rows[cut:].select("at", "label", *features)
    return Stream(name, kept, features, tuple(numbers), slices, tuple(feed), feed_by, model)


def employment() -> Stream:
    """Who has work in Massachusetts, 2015 to 2018: the American Community Survey."""
    where = _files()
    target = pl.read_parquet(where / "employment_MA_analysis_target.pq").select("id", "employed")
    later = pl.read_parquet(where / "employment_MA_analysis.pq").join(target, on="id")
    first = pl.read_parquet(where / "employment_MA_reference.pq")
    texts = ["SCHL", "MAR", "RELP", "DIS", "CIT", "SEX", "RAC1P"]
    rows = pl.concat(
        [
            one.select(
                "AGEP", *(pl.col(name).cast(pl.String) for name in texts), label=pl.col("employed").cast(pl.Float64)
            )
            for one in (first, later)
        ]
    )
    return _made("employment", rows, ["AGEP"], texts, "SCHL", ["AGEP", "MAR", "RELP"], "SEX")


def credit() -> Stream:
    """Which applicants get the best card: made data with three classes, of which one is asked for."""
    where = _files()
    target = pl.read_csv(where / "mc_analysis_gt.csv")
    later = pl.read_csv(where / "mc_analysis.csv", infer_schema_length=None).join(target, on="id")
    first = pl.read_csv(where / "mc_reference.csv", infer_schema_length=None)
    numbers = ["app_behavioral_score", "requested_credit_limit", "credit_bureau_score", "stated_income"]
    texts = ["acq_channel", "app_channel"]
    label = (pl.col("y_true") == "upmarket_card").cast(pl.Float64)
    rows = pl.concat(
        [
            one.select(*(pl.col(name).cast(pl.Float64) for name in numbers), *texts, label=label)
            for one in (first, later)
        ]
    )
    return _made(
        "credit", rows, numbers, texts, "acq_channel", ["credit_bureau_score", "app_behavioral_score"], "app_channel"
    )


def affairs() -> Stream:
    """Fair's survey of 1978, its rows drawn again and again: independent rows of one law."""
    from statsmodels.datasets import fair  # noqa: PLC0415 - a second to import

    table = fair.load_pandas().data
    rows = pl.DataFrame({name: table[name].to_numpy() for name in table.columns})
    drawn = rows[np.random.default_rng(7).integers(0, len(rows), 80_000)]
    texts = ["occupation", "occupation_husb"]
    named = drawn.with_columns(pl.format("job {}", pl.col(name).cast(pl.Int64)).alias(name) for name in texts)
    jitter = np.random.default_rng(8)
    noisy = named.with_columns(
        pl.col("age") + pl.Series(jitter.uniform(-2, 2, len(named))),
        pl.col("yrs_married") + pl.Series(jitter.uniform(0, 2, len(named))),
        label=(pl.col("affairs") > 0).cast(pl.Float64),
    )
    numbers = ["rate_marriage", "age", "yrs_married", "children", "religious", "educ"]
    return _made("affairs", noisy, numbers, texts, "occupation", ["age", "yrs_married"], "occupation_husb")


HELD_OUT: dict[str, Callable[[], Stream]] = {"employment": employment, "credit": credit, "affairs": affairs}
