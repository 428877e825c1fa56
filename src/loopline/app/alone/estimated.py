"""How the predictions do whose labels are still to come."""

from importlib import import_module

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.answers import Unlabelled
from loopline.app.study.files import Table
from loopline.app.study.measure import output_of
from loopline.app.study.sample import Sample, columns_of
from loopline.app.study.study import Study, figure
from loopline.evaluation.estimation.estimate import BLIND, EstimatedLoss, Past

Ints = npt.NDArray[np.int64]

MOST_PAST = 20_000
MOST_NOW = 50_000
_LEAST = 50
_NAMES = {
    "cbpe": "from the scores alone (CBPE)",
    "pape": "from scores and features (PAPE)",
    "dle": "from a model of the loss (DLE)",
}


def answer_unlabelled(study: Study, table: Table | None = None) -> Unlabelled | None:
    """The loss that is to be expected of predictions after the last block that is judged; None where there are hardly any, or where chosen
    classes and rankings say nothing of it.

    It is learnt from the newest 20,000 judged rows and their features, in `table`.
    """
    rows, setup = study.rows, study.setup
    begin = int(study.blocks.last[-1])
    waiting = rows.count(rows.made_in, begin)
    if waiting < _LEAST or rows.hard or rows.kind == "ranking":
        return None
    now = _waiting(study, begin, waiting)
    known = _newest(study)
    block = np.searchsorted(study.blocks.last, known, side="right")
    scores = study.losses.scores
    past = Past(
        rows.taken(scores, known),
        rows.taken(rows.label, known),
        block,
        _features(study, table, known),
    )
    estimate_loss = import_module("loopline.evaluation.estimation.unlabelled").estimate_loss  # loads scikit-learn
    found = estimate_loss(
        setup.risk.loss,
        output_of(rows),
        past,
        rows.taken(scores, now),
        _features(study, table, now),
    )
    return _told(study, found, waiting, len(known))


def _waiting(study: Study, begin: int, count: int) -> Ints:
    """At most 50,000 of so many rows with a score from `begin` on, evenly spread."""
    wanted = np.linspace(0, count - 1, min(count, MOST_NOW)).astype(np.int64)
    found, seen = [], 0
    for part in study.rows.parts(begin):
        places = np.flatnonzero(study.rows.made_in(part)) + part.start
        first, last = np.searchsorted(wanted, [seen, seen + len(places)])
        found.append(places[wanted[first:last] - seen])
        seen += len(places)
    return np.concatenate(found)


def _newest(study: Study) -> Ints:
    """The newest 20,000 rows of the blocks that are judged by a label."""
    found: list[Ints] = [np.zeros(0, dtype=np.int64)]
    for first, last in zip(reversed(study.blocks.first.tolist()), reversed(study.blocks.last.tolist()), strict=True):
        part = slice(first, last)
        found.insert(0, np.flatnonzero(study.judged_in(part)) + first)
        study.rows.shelf.let_go()
        if sum(len(one) for one in found) >= MOST_PAST:
            break
    return np.concatenate(found)[-MOST_PAST:]


def _features(study: Study, table: Table | None, places: Ints) -> pl.DataFrame | None:
    """Of rows at rising places; rows that were kept of an earlier run have theirs elsewhere."""
    names = study.setup.columns.features
    if table is None or not names or study.kept:
        return None
    sample = Sample(places, np.zeros(len(places), dtype=np.int64), whole=False)
    return pl.DataFrame(list(columns_of(table, names, study.rows, sample)))


def _told(study: Study, found: EstimatedLoss, waiting: int, learnt_from: int) -> Unlabelled:
    if found.value is None:
        return Unlabelled(
            waiting, None, None, None, found.method, found.effective, [f"Nothing can be said of them. {found.why}"]
        )
    before = study.mean_of_blocks(study.losses.raw, 0, study.reference - 1).mean
    like = (
        f", of which as many as {found.effective:,.0f} are like these"
        if found.method != "cbpe" and found.effective
        else ""
    )
    moved = "more than" if found.lower > before else "less than" if found.upper < before else "about as much as"
    sentences = [
        (
            f"Of the {waiting:,} predictions whose labels are still to come, the {study.raw_name} is estimated at {figure(found.value)} "
            f"({figure(found.lower)} to {figure(found.upper)}): {moved} in the reference ({figure(before)})."
        ),
        f"Estimated {_NAMES[found.method]}, learnt from {learnt_from:,} labelled rows{like}. {BLIND}",
    ]
    return Unlabelled(waiting, found.value, found.lower, found.upper, found.method, found.effective, sentences)
