"""How the predictions do whose labels are still to come."""

from importlib import import_module

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.answers import Unlabelled
from loopline.app.study.files import Table
from loopline.app.study.measure import output_of
from loopline.app.study.study import Study, figure
from loopline.evaluation.estimation.estimate import BLIND, EstimatedLoss, Past

Ints = npt.NDArray[np.int64]

MOST_PAST = 20_000
MOST_NOW = 50_000
_MOST_READ = 1_000_000
_LEAST = 50
_NAMES = {
    "cbpe": "from the scores alone (CBPE)",
    "pape": "from scores and features (PAPE)",
    "dle": "from a model of the loss (DLE)",
}


def answer_unlabelled(study: Study, table: Table | None = None) -> Unlabelled | None:
    """The loss that is to be expected of predictions after the last block that is judged; None where there are hardly any, or where chosen
    classes and rankings say nothing of it.

    It is learnt from the newest 20,000 judged rows. Their features, in `table`, are looked at where there are up to a million rows.
    """
    rows, setup = study.rows, study.setup
    waiting = np.flatnonzero(rows.made & (np.arange(len(rows)) >= int(study.blocks.last[-1])))
    if len(waiting) < _LEAST or rows.hard or rows.kind == "ranking":
        return None
    now = waiting[np.linspace(0, len(waiting) - 1, min(len(waiting), MOST_NOW)).astype(np.int64)]
    block = study.blocks.of_rows(len(rows))
    known = np.flatnonzero(study.losses.judged & study.rows.known & (block >= 0))[-MOST_PAST:]
    features = _features(study, table)
    scores = study.losses.scores
    past = Past(
        scores[known], rows.label[known], block[known], None if features is None else _at(features, study, known)
    )
    estimate_loss = import_module("loopline.evaluation.estimation.unlabelled").estimate_loss  # loads scikit-learn
    found = estimate_loss(
        setup.risk.loss, output_of(rows), past, scores[now], None if features is None else _at(features, study, now)
    )
    return _told(study, found, len(waiting), len(known))


def _features(study: Study, table: Table | None) -> pl.DataFrame | None:
    """In the order of the file; rows that were kept of an earlier run have theirs elsewhere."""
    names = study.setup.columns.features
    if table is None or not names or study.kept or len(study.rows) > _MOST_READ:
        return None
    return table.read(list(names))


def _at(features: pl.DataFrame, study: Study, places: Ints) -> pl.DataFrame:
    return features[study.rows.order[places]]


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
