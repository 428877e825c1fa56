"""The rows a model answers for, each as it was known at its own time."""

import polars as pl

from loopline.values import Window


def known_at_their_time(history: pl.DataFrame, *, at: str, window: Window | None = None) -> pl.DataFrame:
    """One row for each key: the version that was in force at the time in its own column `at` (UTC).

    `history` holds all versions (`_key`, `_known_at`, `_tombstone` and payload). A version counts if it was known by its
    `at`, no later version was, and it is not a tombstone; where `at` was moved after it had passed, the first time counts,
    so that a key is answered for once. With `window`, only rows whose `at` lies in it. Sorted by `at`, then key.
    """
    versions = history.lazy().sort("_key", "_known_at", maintain_order=True)
    replaced = pl.col("_known_at").shift(-1).over("_key")
    in_force = (pl.col("_known_at") <= pl.col(at)) & (replaced.is_null() | (replaced > pl.col(at)))
    rows = (
        versions.filter(in_force & ~pl.col("_tombstone"))
        .sort(at, "_key", maintain_order=True)
        .unique("_key", keep="first", maintain_order=True)
    )
    if window is not None:
        rows = rows.filter((pl.col(at) > window.start) & (pl.col(at) <= window.end))
    return rows.collect()
