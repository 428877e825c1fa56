"""Predictions and labels of a small service, with and without a harm that is planted."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@dataclass(frozen=True)
class Service:
    """`predictions` has prediction_id, predicted_at, score, amount, region; `labels` has prediction_id, label, labelled_at."""

    predictions: pl.DataFrame
    labels: pl.DataFrame

    def write(self, folder):
        """As Parquet; gives both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "predictions.parquet", folder / "labels.parquet"
        self.predictions.write_parquet(paths[0])
        self.labels.write_parquet(paths[1])
        return str(paths[0]), str(paths[1])


def service(days=50, rows=400, harm=None, kind="", seed=0, hours=20.0) -> Service:
    """So many rows a day; from day `harm` on something happens.

    `concept`: in region east the label is no longer what the amount says. `shift`: larger amounts, same meaning. `missing`:
    amounts are missing and the score falls back to the mean.
    """
    rng = np.random.default_rng(seed)
    count = days * rows
    place = np.sort(rng.uniform(0, days, count))
    after = place >= (days if harm is None else harm)
    amount = rng.normal(size=count) + np.where(after & (kind == "shift"), 1.0, 0.0)
    region = rng.choice(["north", "south", "east"], count, p=[0.4, 0.3, 0.3])
    meant = -1 + 1.2 * amount
    truth = np.where(after & (kind == "concept") & (region == "east"), -1 - 1.2 * amount, meant)
    label = (rng.random(count) < sigmoid(truth)).astype(np.int64)
    gone = after & (kind == "missing")
    score = np.where(gone, 0.33, sigmoid(meant))
    at = pl.Series((place * DAY).astype(np.int64)).cast(pl.Duration("us")) + START
    ids = [f"r{number:06d}" for number in range(count)]
    predictions = pl.DataFrame(
        {
            "prediction_id": ids,
            "predicted_at": at,
            "score": score,
            "amount": np.where(gone, np.nan, amount),
            "region": region,
        }
    ).with_columns(pl.col("amount").fill_nan(None))
    came = at + pl.Series((rng.exponential(hours / 24, count) * DAY).astype(np.int64)).cast(pl.Duration("us"))
    labels = pl.DataFrame({"prediction_id": ids, "label": label, "labelled_at": came})
    return Service(predictions, labels.sample(fraction=1, shuffle=True, seed=seed))
