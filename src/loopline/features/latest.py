"""The latest row of each entity that has a value, at any places in time."""

import numpy as np
import polars as pl

from loopline.features.definitions import LatestView, reach
from loopline.features.history import KEY, Rows
from loopline.features.intervals import FOREVER, Ints, Places, active
from loopline.values import MICROSECOND


def latest_rows(view: LatestView, rows: Rows, places: Places) -> dict[str, Ints]:
    """Per feature, which row of `rows.frame` answers at each place; -1 where none does."""
    limit = reach(view)
    length = None if limit is None else limit // MICROSECOND
    rows = by_priority(rows)
    answers: dict[bytes, Ints] = {}
    features: dict[str, Ints] = {}
    for name, column in view.features.items():
        present = rows.present(column)
        alike = np.packbits(present).tobytes() if not present.all() else b""
        if alike not in answers:
            answers[alike] = _answers(rows.where(present) if alike else rows, length, places)
        features[name] = answers[alike]
    return features


def by_priority(rows: Rows) -> Rows:
    """The rows of each entity by event time, then known time, then key: of those active, the last one answers."""
    if _increasing(rows.codes, rows.event, rows.known):
        return rows
    rows = rows.where(np.lexsort((rows.known, rows.event, rows.codes)))
    if _increasing(rows.codes, rows.event, rows.known):
        return rows
    ranks = pl.DataFrame({"code": rows.codes, "event": rows.event, "known": rows.known})
    ranks = ranks.with_columns(rows.frame[KEY].gather(rows.places)).with_row_index("row")
    return rows.where(ranks.sort("code", "event", "known", KEY)["row"].to_numpy().astype(np.int64))


def _answers(rows: Rows, length: int | None, places: Places) -> Ints:
    winners = _by_age(rows, length, places) if (rows.until == FOREVER).all() else _stabbing(rows, length, places)
    return np.where(winners >= 0, rows.places[np.maximum(winners, 0)], -1) if len(rows.places) else winners


def _by_age(rows: Rows, length: int | None, places: Places) -> Ints:
    """Without corrections rows end by age alone, so the last one that began outlives the others: a running maximum."""
    first = places.first(rows.codes, rows.start)
    best = np.full(len(places) + 1, -1)
    np.maximum.at(best, first, np.arange(len(first)))
    winners = np.maximum.accumulate(best[:-1])
    if len(first) == 0:
        return winners
    alive = (winners >= 0) & (rows.codes[winners] == places.codes)
    if length is not None:
        alive &= rows.event[winners] + length > places.times
    return np.where(alive, winners, -1)


def _stabbing(rows: Rows, length: int | None, places: Places) -> Ints:
    kept, intervals = active(places, rows.codes, rows.start, rows.end(length))
    best = intervals.greatest(np.flatnonzero(kept).astype(np.float64))
    return np.where(np.isneginf(best), -1, best).astype(np.int64)


def _increasing(codes: Ints, event: Ints, known: Ints) -> bool:
    """Whether (event, known) strictly increases from row to row within each of the sorted codes."""
    pause = np.flatnonzero((event[1:] <= event[:-1]) & (codes[1:] == codes[:-1]))
    return bool(((event[pause + 1] == event[pause]) & (known[pause + 1] > known[pause])).all())
