"""The rows that a canary is judged by: its own and the champion's, from the prediction log and from matured labels."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.evaluation.kind import from_column
from loopline.evaluation.losses import named
from loopline.evidence.two_arms import TwoArms, advance
from loopline.gates.canary_terms import CanaryTerms
from loopline.gates.environment import endpoint_of
from loopline.gates.variants import Deployed
from loopline.labels.outcomes import LABEL_KEY, outcomes
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.pushed_labels import pushed_labels
from loopline.loop.resources import Resources
from loopline.scoring.ladder import MODEL_UNAVAILABLE
from loopline.scoring.record import CHAMPION, FALLBACK, PREVIOUS, prediction_table
from loopline.scoring.variants import variant_failed

LATENCY = "latency_ms"
LEAST_TIMED = 200
MOST_TIMED = 10_000
_BEFORE = timedelta(days=1)
_SLOWEST = 0.99
_ONCE_A = "1h"
_DEGRADED = 0.5
_ARMS = ["_key", "_known_at", "variant", "model_version", "degraded"]

Floats = npt.NDArray[np.float64]


class Progress(msgspec.Struct, frozen=True):
    """How far a canary's test is: a few numbers, and a watermark for each of what they were made of.

    `read` counts the rows of the prediction log since the canary's start that were seen, in the order they came in; `slow_ms` is from
    when an answer is slow (None: not known yet), `slow_from` the row from which that is counted. `labels_until` is to which time
    of prediction labels were seen. `step_rows` is how many rows the canary had when its present share began; `share` that share.
    """

    read: int = 0
    errors: TwoArms = TwoArms()
    slow: TwoArms = TwoArms()
    slow_ms: float | None = None
    slow_from: int = 0
    labels: TwoArms = TwoArms()
    labels_until: datetime | None = None
    share: float = 0.0
    step_rows: int = 0


@dataclass(frozen=True)
class Judging:
    """A canary with what its rows are read with."""

    resources: Resources
    lane: Lane
    history: History
    found: Deployed
    terms: CanaryTerms

    @property
    def table(self) -> str:
        """The table of the endpoint's predictions."""
        endpoint = endpoint_of(self.found.model, self.lane.operation.environments, self.found.environment)
        return prediction_table(self.found.project, endpoint)


def progress_of(found: Deployed) -> Progress:
    """What is kept of the canary's test; a fresh one at its start."""
    return Progress() if found.progress is None else msgspec.convert(found.progress, Progress)


def read_on(judging: Judging, progress: Progress, now: datetime) -> Progress:
    """The test after the rows and matured labels that came since; nothing is written. Killed before it is kept, it reads again."""
    if not judging.resources.tables.exists(judging.table):
        return progress
    rows = _rows(judging)
    told = _arms(rows, judging.found)
    new = told.filter(pl.col("_place") >= progress.read)
    errors = advance(
        progress.errors,
        new["_trial"].to_numpy(),
        new["_error"].to_numpy(),
        new["_known_at"].to_physical().to_numpy(),
        judging.terms.errors,
    )
    moved = msgspec.structs.replace(progress, read=rows.height, errors=errors)
    if judging.terms.slow is not None and LATENCY in rows.columns:
        moved = _timed(judging, moved, told, progress.read)
    if judging.terms.labels is not None:
        moved = _labelled(judging, moved, now)
    if moved.share != judging.found.share:
        moved = msgspec.structs.replace(moved, share=judging.found.share, step_rows=progress.errors.total.trial)
    return moved


def _rows(judging: Judging) -> pl.DataFrame:
    """The log since the canary's start, in the order it came in: `_place` counts that order, which never changes."""
    table = judging.resources.tables.open(judging.table)
    columns = [*_ARMS, *([LATENCY] if LATENCY in table.schema.columns else [])]
    return table.read(columns=columns, known_after=judging.found.started_at).with_row_index("_place")


def _arms(rows: pl.DataFrame, found: Deployed) -> pl.DataFrame:
    """The rows of either arm, `_trial` for the canary's. What the champion answered because the canary failed is the canary's.

    `_error` is 1 where no model answered that should have, and a half where an answer was degraded otherwise: an odd input degrades
    the answers of both, and must not hide that one of them cannot answer at all. A key counts once an hour: a caller that asks again
    and again about one row says nothing new.
    """
    failed = pl.col("degraded").list.contains(variant_failed(found.name))
    other = pl.col("degraded").list.eval(pl.element().str.starts_with(variant_failed(""))).list.any()
    own = (pl.col("variant") == found.name) & (pl.col("model_version") == found.version)
    standing = pl.col("variant").is_in([CHAMPION, PREVIOUS, FALLBACK]) & ~other
    hour = pl.col("_known_at").dt.truncate(_ONCE_A)
    unavailable = failed | pl.col("degraded").list.contains(MODEL_UNAVAILABLE)
    error = pl.when(unavailable).then(1.0).when(pl.col("degraded").list.len() > 0).then(_DEGRADED).otherwise(0.0)
    return (
        rows.with_columns(_trial=own | failed, _hour=hour, _error=error)
        .filter(pl.col("_trial") | standing)
        .unique(["_key", "_hour"], keep="first", maintain_order=True)
    )


def _timed(judging: Judging, progress: Progress, told: pl.DataFrame, seen: int) -> Progress:
    if judging.terms.slow is None:
        return progress
    limit, start = progress.slow_ms, progress.slow_from
    if limit is None:
        limit, start = _limit(judging, told)
        seen = 0
    if limit is None:
        return progress
    timed = told.filter((pl.col("_place") >= max(seen, start)) & pl.col(LATENCY).is_not_null())
    slow = advance(
        progress.slow,
        timed["_trial"].to_numpy(),
        (timed[LATENCY].to_numpy() > limit).astype(np.float64),
        timed["_known_at"].to_physical().to_numpy(),
        judging.terms.slow,
    )
    return msgspec.structs.replace(progress, slow=slow, slow_ms=limit, slow_from=start)


def _limit(judging: Judging, told: pl.DataFrame) -> tuple[float | None, int]:
    """From when an answer is slow, and the row from which that is counted.

    By the champion's answers before the canary came; where they are too few, by its first ones since, which then are not counted
    again: what is bet on must not have set the limit.
    """
    table = judging.resources.tables.open(judging.table)
    began = judging.found.started_at
    before = table.read(
        columns=[LATENCY],
        known_after=began - _BEFORE,
        known_until=began,
        where=pl.col("variant") == CHAMPION,
    )[LATENCY].drop_nulls()
    if len(before) >= LEAST_TIMED:
        return _beyond(before.tail(MOST_TIMED), judging.terms), 0
    since = told.filter(~pl.col("_trial") & pl.col(LATENCY).is_not_null()).head(LEAST_TIMED)
    if since.height < LEAST_TIMED:
        return None, 0
    return _beyond(since[LATENCY], judging.terms), int(since["_place"][-1]) + 1


def _beyond(taken: pl.Series, terms: CanaryTerms) -> float:
    return terms.slow_beyond * float(np.quantile(taken.to_numpy(), _SLOWEST, method="higher"))


def _labelled(judging: Judging, progress: Progress, now: datetime) -> Progress:
    label, found = judging.lane.operation.model.label, judging.found
    until, after = label.mature_until(now), progress.labels_until or found.started_at - _BEFORE
    if judging.terms.labels is None or until <= after:
        return progress
    rows = _matured(judging, after, until, now)
    losses = _losses(judging, rows)
    known = ~np.isnan(losses)
    labels = advance(
        progress.labels,
        rows["_trial"].to_numpy()[known],
        losses[known],
        rows["_event_time"].to_physical().to_numpy()[known],
        judging.terms.labels / (judging.terms.cap or 1),
    )
    return msgspec.structs.replace(progress, labels=labels, labels_until=until)


def _matured(judging: Judging, after: datetime, until: datetime, now: datetime) -> pl.DataFrame:
    """Rows of either arm for times in (after, until] with their labels; those without one are left out."""
    scored = judging.resources.tables.open(judging.table).read(
        columns=[*_ARMS, "_event_time", "score", "outputs", "group", "label_key"],
        known_after=judging.found.started_at,
        event_after=after,
        event_until=until,
    )
    told = _arms(scored, judging.found).unique("_key", keep="first", maintain_order=True)
    lane, label = judging.lane, judging.lane.operation.model.label
    history = judging.history.known(label.table, now)
    pushed = pushed_labels(judging.resources, lane, now)
    joined = outcomes(told.rename({"label_key": LABEL_KEY}), history, label, as_of=now, pushed=pushed)
    return joined.filter(pl.col("label").is_not_null()).sort("_event_time", "_key")


def _losses(judging: Judging, rows: pl.DataFrame) -> Floats:
    """The loss of each row in [0, 1]; NaN where there is none."""
    output = judging.lane.operation.model.output
    outputs: Any = output.shaped(from_column(rows[output.column]))
    groups = None if judging.lane.operation.model.group is None else rows["group"].to_numpy()
    losses = named(judging.terms.loss, output).rows(outputs, rows["label"].to_numpy(), groups)
    return np.clip(losses / (judging.terms.cap or 1), 0, 1)
