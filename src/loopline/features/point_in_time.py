"""Features exactly as known at the time of each question: no leak, however late or often a row was corrected.

Version i of a key is valid over [known_i, known_i+1), unless it is a tombstone. At t a window of length w counts the valid
versions with event time in (t - w, t]: a version counts over [max(known, event), min(known of the next, event + w)).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
import polars as pl

from loopline.features.definitions import View, WindowView, check_views, feature_names, reach
from loopline.features.entities import entity_codes
from loopline.features.history import (
    EVENT,
    KEY,
    KNOWN,
    Rows,
    history_columns,
    moments,
    require_columns,
    rows_of,
    superseded_at,
    table_of,
)
from loopline.features.intervals import Ints, Places
from loopline.features.latest import latest_rows
from loopline.features.partitions import LongHistory, deal
from loopline.features.windows import window_features
from loopline.values import from_micros, utc

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def point_in_time(
    queries: pl.DataFrame,
    *,
    at: str,
    views: Sequence[View],
    history: Mapping[str, pl.DataFrame | pl.LazyFrame],
    partitions: int = 1,
) -> pl.DataFrame:
    """One column per feature of `views`, in their order; one row per query, in the queries' order.

    A query has the time column `at` (Datetime with a zone, no nulls) and each view's entity column; a null entity is
    nobody. `history` holds the rows of each view's table, in any order (of versions of a key known at the same time the
    later row wins). Features are Float64, null where there is no value; a latest view of text gives String.

    With `partitions` above 1 the entities are dealt into so many parts by hash, and the history is scanned once per part
    for corrections and once for the rows: memory holds the rows of one part that can matter. A LazyFrame must then give
    the same rows in the same order each time. Raises `InvalidInput` for columns that are missing or of a wrong type and
    `NotFound` for a missing table.
    """
    check_views(views)
    require_columns("the queries", queries.columns, [at, *(view.by for view in views)])
    times = moments(queries, at)
    answers = pl.DataFrame(height=queries.height)
    for table in dict.fromkeys(view.table for view in views):
        of_table = [view for view in views if view.table == table]
        whole = table_of(history, table)
        past = whole.select(history_columns(whole.collect_schema().names(), *of_table))
        if partitions == 1 or queries.is_empty():
            found = _at_once(past, of_table, queries, times)
        else:
            found = _by_parts(past.lazy(), of_table, queries, times, partitions)
        answers = answers.hstack(found)
    return answers.select(name for view in views for name in feature_names(view))


def restrict(history: Frame, view: View, since: datetime) -> Frame:
    """The part of a history that can matter to queries at or after `since`: every version of each key that has a version
    young enough for the view. A latest view without `max_age` needs all of it. The order of rows is kept.
    """
    age = reach(view)
    if age is None:
        return history
    young = history.filter(pl.col(EVENT) > utc(since) - age).select(KEY)
    return history.join(young, on=KEY, how="semi", maintain_order="left")


def _at_once(
    past: pl.DataFrame | pl.LazyFrame, views: list[View], queries: pl.DataFrame, times: Ints
) -> list[pl.Series]:
    if isinstance(past, pl.LazyFrame):
        last = from_micros(int(times.max(initial=0)))
        past = past.filter(pl.col(KNOWN) <= last).collect(engine="streaming")
    until = superseded_at(past)
    return [
        column
        for by in dict.fromkeys(view.by for view in views)
        for column in _answer([view for view in views if view.by == by], queries[by], times, past, until)
    ]


def _by_parts(
    past: pl.LazyFrame, views: list[View], queries: pl.DataFrame, times: Ints, partitions: int
) -> list[pl.Series]:
    first, last = from_micros(int(times.min())), from_micros(int(times.max()))
    seen = LongHistory.seen(past, first, last, partitions)
    columns: list[pl.Series] = []
    for by in dict.fromkeys(view.by for view in views):
        group = [view for view in views if view.by == by]
        age = _longest(group)
        dealt = list(deal(queries[by], partitions))
        pieces = []
        for places in dealt:
            entities = queries[by].gather(places)
            pieces.append(pl.DataFrame(_answer(group, entities, times[places], *seen.of(by, entities, age))))
        columns += pl.concat(pieces)[np.argsort(np.concatenate(dealt))].get_columns()
    return columns


def _answer(
    views: Sequence[View], entities: pl.Series, times: Ints, past: pl.DataFrame, until: Ints
) -> list[pl.Series]:
    """The features of views `by` one column, for its values `entities` at `times`."""
    asked, filed = entity_codes(entities, past[views[0].by])
    places, rows = Places(asked, times), rows_of(past, filed, until)
    return [column for view in views for column in _features(view, rows, places)]


def _features(view: View, rows: Rows, places: Places) -> list[pl.Series]:
    if isinstance(view, WindowView):
        found = window_features(view, rows, places)
        return [pl.Series(name, places.unsorted(values), nan_to_null=True) for name, values in found]
    winners = latest_rows(view, rows, places)
    return [rows.values(view.features[name], places.unsorted(found)).alias(name) for name, found in winners.items()]


def _longest(views: Sequence[View]) -> timedelta | None:
    reaches = [reach(view) for view in views]
    return None if None in reaches else max(length for length in reaches if length is not None)
