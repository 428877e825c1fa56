"""The latest row of each entity that has a value, at any places in time."""

import numpy as np
import polars as pl

from loopline.features.definitions import LatestView, reach
from loopline.features.history import KEY, Rows
from loopline.features.intervals import FOREVER, Ints, Mask, Places, active
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
    """The rows of each entity by event time, known time, then key: of those active, the last one answers."""
    twins = np.flatnonzero(
        (rows.event[1:] == rows.event[:-1]) & (rows.known[1:] == rows.known[:-1]) & (rows.codes[1:] == rows.codes[:-1])
    )
    if len(twins) == 0:
        return rows
    tied = np.union1d(twins, twins + 1)
    ranks = pl.DataFrame({"code": rows.codes[tied], "event": rows.event[tied], "known": rows.known[tied]})
    ranks = ranks.with_columns(rows.frame[KEY].gather(rows.places[tied]), place=tied)
    order = np.arange(len(rows.codes))
    order[tied] = ranks.sort("code", "event", "known", KEY)["place"].to_numpy()
    return rows.where(order)


def _answers(rows: Rows, length: int | None, places: Places) -> Ints:
    """Rows that were never superseded are many and easy, the others few and hard: the later of both answers counts."""
    lasting = rows.until == FOREVER
    if lasting.all():
        return _in_frame(rows, _of_lasting(rows, length, places))
    easy = _ranked(lasting, _of_lasting(rows.where(lasting), length, places))
    hard = _ranked(~lasting, _of_superseded(rows.where(~lasting), length, places))
    return _in_frame(rows, np.maximum(easy, hard))


def _of_lasting(rows: Rows, length: int | None, places: Places) -> Ints:
    """Rows that end by age alone: the last one that began outlives the others, so a running maximum finds it."""
    winners = places.last_begun(rows.codes, rows.start)
    if length is None or len(rows.codes) == 0:
        return winners
    return np.where(rows.event[winners] + length > places.times, winners, -1)


def _of_superseded(rows: Rows, length: int | None, places: Places) -> Ints:
    kept, intervals = active(places, rows.codes, rows.start, rows.end(length))
    best = intervals.greatest(np.flatnonzero(kept).astype(np.float64))
    return np.where(np.isneginf(best), -1, best).astype(np.int64)


def _ranked(mask: Mask, winners: Ints) -> Ints:
    """Winners among the rows of a mask as winners among all rows; -1 stays."""
    return np.append(np.flatnonzero(mask), -1)[winners]


def _in_frame(rows: Rows, winners: Ints) -> Ints:
    return np.append(rows.places, -1)[winners]
