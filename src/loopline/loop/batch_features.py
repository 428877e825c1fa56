"""Features of rows that are scored in batch: as known at each row's time, from tables that stay as they were when it began."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from loopline.features.definitions import View, feature_names, payload_columns, reach
from loopline.features.point_in_time import point_in_time
from loopline.loop.resources import Resources
from loopline.scoring.batch.run import STALE
from loopline.scoring.treatment import FEATURE_STALE
from loopline.tables.schema import SYSTEM_COLUMNS
from loopline.training.training_set import with_view_columns
from loopline.values import MICROSECOND


def histories(resources: Resources, views: Sequence[View], versions: Mapping[str, int]) -> dict[str, pl.DataFrame]:
    """What `views` need of the tables as they were at `versions`, by table."""
    return {name: _read(resources, name, version, views) for name, version in versions.items()}


class BatchFeatures:
    """Looks up the features of `views`, at the time in the column `at`, in what `read` gives when it is needed first."""

    def __init__(self, views: Sequence[View], at: str, read: Callable[[], dict[str, pl.DataFrame]]) -> None:
        self._views, self._at, self._read = list(views), at, read

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with every feature; and, where a view's table knew nothing young enough at a row's time, with `_stale`."""
        if not self._views or rows.is_empty():
            return rows
        found = point_in_time(rows, at=self._at, views=self._views, history=self._history)
        names = [name for view in self._views for name in feature_names(view)]
        return rows.drop(names, strict=False).hstack(found).with_columns(self._stale(rows))

    @cached_property
    def _history(self) -> dict[str, pl.DataFrame]:
        return self._read()

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        """When something became known, by table, in microseconds, rising."""
        return {
            name: np.unique(past["_known_at"].dt.epoch("us").to_numpy()) if past.height else np.empty(0, np.int64)
            for name, past in self._history.items()
        }

    def _stale(self, rows: pl.DataFrame) -> list[pl.Expr]:
        times = rows[self._at].dt.epoch("us").to_numpy()
        marks: dict[str, np.ndarray] = {}
        for view in self._views:
            stale = _too_old(self._known[view.table], times, view)
            marks[view.table] = marks.get(view.table, np.zeros(rows.height, dtype=bool)) | stale
        if not any(mark.any() for mark in marks.values()):
            return []
        codes = [
            pl.when(pl.Series(mark)).then(pl.lit(f"{FEATURE_STALE}:{name}"))
            for name, mark in marks.items()
            if mark.any()
        ]
        return [pl.concat_list(codes).list.drop_nulls().alias(STALE)]


def _read(resources: Resources, name: str, version: int, asking: Sequence[View]) -> pl.DataFrame:
    table = resources.tables.open(name)
    views = [view for view in asking if view.table == name]
    used = {column for view in views for column in (view.by, *payload_columns(view))}
    used |= {table.schema.subject} if table.schema.subject else set()
    columns = [column for column in table.schema.all_columns if column in {*SYSTEM_COLUMNS, *used}]
    # Where a table was kept from an erasure, what is held of the person is not worked with.
    past = table.without_erased(table.read(version=version, columns=columns))
    return with_view_columns(past, list(asking), name)


def _too_old(known: np.ndarray, times: np.ndarray, view: View) -> np.ndarray:
    longest = reach(view)
    last = np.searchsorted(known, times, side="right") - 1
    nothing: np.ndarray = np.asarray(last < 0)
    if longest is None or not len(known):
        return nothing
    old: np.ndarray = known[np.maximum(last, 0)] <= times - longest // MICROSECOND
    return np.asarray(nothing | old)
