"""Trials: parameters fitted and judged fold by fold, stopped where they are clearly worse, and the best of them."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import structlog
from threadpoolctl import threadpool_limits

from loopline.errors import InvalidInput, LooplineError
from loopline.evaluation.losses import Loss
from loopline.models.estimator import estimate
from loopline.models.signature import infer
from loopline.runs.searches import State, Trial
from loopline.training.fit import LEAST_ROWS, FitFunction, estimator_of
from loopline.training.folds import LEAST_FOLDS, Fold, Folds, time_folds
from loopline.training.training_set import GROUP, TARGET, LabelledRows, TrainingSet
from loopline.values import derive_seed

log = structlog.get_logger(__name__)

PRUNE_AFTER = 2  # folds
_PRUNE_FROM = 5  # complete trials
_COMPLETE: State = "complete"


@dataclass(frozen=True)
class FoldRows:
    """One fold, encoded by what its training rows say: the training set, and the one to validate on."""

    train: TrainingSet
    validate: TrainingSet


class Best(msgspec.Struct, frozen=True):
    """The trial that won. `params` are those to fit with; `better_by` is how much less its mean loss is than that of the
    declared parameters, `error` the standard error of that over folds; None where there was nothing to compare.
    """

    number: int
    params: dict[str, Any]
    loss: float
    sentence: str
    better_by: float | None = None
    error: float | None = None


def fold_rows(rows: LabelledRows, folds: Folds, *, seed: int) -> list[FoldRows]:
    """The folds of labelled rows, ready to fit on. A row is trained on only where its label was known, and due, by the cut.

    Raises `InvalidInput` where fewer than two folds have enough to train on.
    """
    at = rows.frame["_event_time"].dt.replace_time_zone(None).to_numpy()
    groups = rows.frame[GROUP].to_numpy() if GROUP in rows.frame.columns else None
    found = time_folds(at, _usable_from(rows), folds, groups)
    usable = [_encoded(rows, fold, derive_seed(seed, "fold", place)) for place, fold in enumerate(found)]
    usable = [fold for fold in usable if _enough(fold)]
    if len(usable) < LEAST_FOLDS:
        raise InvalidInput(
            "search.too_few_rows",
            f"{rows.frame.height} labelled rows give {len(usable)} folds to search on",
            remedy=f"Wait for labels of both kinds: each fold needs {LEAST_ROWS} of them known by its cut.",
        )
    return usable


def _usable_from(rows: LabelledRows) -> npt.NDArray[np.datetime64]:
    """When a training could have had each row: its label known, and due, and the time it is for come."""
    due = pl.col("_event_time") + rows.recipe.label.maturity
    target = [TARGET] if TARGET in rows.frame.columns else []
    moments = rows.frame.select(known=pl.max_horizontal("_label_known_at", due, *target))
    return moments["known"].dt.replace_time_zone(None).to_numpy()


def _enough(fold: FoldRows) -> bool:
    return len(fold.train) >= LEAST_ROWS and len(np.unique(fold.train.y)) > 1 and len(fold.validate) > 0


def _encoded(rows: LabelledRows, fold: Fold, seed: int) -> FoldRows:
    train, validate = rows.frame[fold.train], rows.frame[fold.validate]
    part = replace(rows, frame=train)
    features = train.select(rows.recipe.feature_names)
    signature = infer(features, train["label"].to_numpy(), set(rows.recipe.given), rows.recipe.output)
    later = replace(rows, frame=validate).training_set(signature, seed)
    return FoldRows(part.training_set(signature, seed), later.part(~later.censored, seed))


def run_trial(
    number: int,
    params: Mapping[str, Any],
    function: FitFunction,
    folds: Sequence[FoldRows],
    loss: Loss,
    finished: Sequence[Trial],
    *,
    clock: Callable[[], float],
) -> Trial:
    """Fit and judge `params` on one fold after the other; `clock` gives seconds, for what is measured.

    The loss is of scores as the model gives them: calibration comes later and repairs scale, not ranking, and a proper loss
    rewards being calibrated by itself. What the function raises makes a failed trial, not the end of a search.
    """
    began, state, reason = clock(), _COMPLETE, None
    scores: list[float] = []
    try:
        for fold in folds:
            scores.append(_judged(function, params, fold, loss))
            if len(scores) < len(folds) and clearly_worse(scores, finished):
                state, reason = "pruned", f"worse than most on each of {len(scores)} folds"
                break
    except LooplineError as error:
        log.warning("trial_failed", number=number, params=dict(params), error=error.message)
        scores, state, reason = [], "failed", error.message
    return Trial(number, state, dict(params), tuple(scores), reason, clock() - began)


def clearly_worse(scores: Sequence[float], finished: Sequence[Trial]) -> bool:
    """Whether, after two folds or more, it did worse on every one than the median of the complete trials; five of these at least.

    Golovin et al., Google Vizier, KDD 2017, for the median.
    """
    complete = [trial for trial in finished if trial.state == "complete"]
    if len(scores) < PRUNE_AFTER or len(complete) < _PRUNE_FROM:
        return False
    return all(score > statistics.median(trial.scores[fold] for trial in complete) for fold, score in enumerate(scores))


def best_of(finished: Sequence[Trial]) -> Best:
    """The complete trial with the least mean loss; the declared parameters, trial 0, where it is not clearly better than they.

    Clearly means by more than one standard error of the paired difference over folds: Breiman, Friedman, Olshen and Stone,
    Classification and regression trees, 1984, 3.4.3, paired. Raises `InvalidInput` where no trial is complete.
    """
    complete = [trial for trial in finished if trial.state == "complete"]
    if not complete:
        raise InvalidInput(
            "search.all_failed",
            f"none of {len(finished)} trials was completed: {next((trial.reason for trial in finished), 'none was made')}",
            remedy="Mend the model's function or its ranges; the trials say what was raised.",
        )
    least = min(complete, key=lambda trial: (trial.mean, trial.number))
    if complete[0].number > 0:
        return Best(least.number, least.params, least.mean, "the declared parameters failed")
    return _against(complete[0], least)


def _against(declared: Trial, least: Trial) -> Best:
    if least is declared:
        return Best(0, declared.params, declared.mean, "the declared parameters are the best")
    apart = [before - after for before, after in zip(declared.scores, least.scores, strict=True)]
    gain, error = statistics.fmean(apart), statistics.stdev(apart) / math.sqrt(len(apart))
    if gain > error:
        told = f"trial {least.number} is better than the declared parameters by {gain:.4g}, more than the standard error {error:.4g}"
        return Best(least.number, least.params, least.mean, told, gain, error)
    told = f"trial {least.number} is not clearly better than the declared parameters: by {gain:.4g}, with a standard error of {error:.4g}"
    return Best(0, declared.params, declared.mean, told, gain, error)


def _judged(function: FitFunction, params: Mapping[str, Any], fold: FoldRows, loss: Loss) -> float:
    # A copy: what a function does to its arrays must not reach the next trial.
    own = fold.train.part(np.ones(len(fold.train), dtype=np.bool_), fold.train.seed)
    with threadpool_limits(limits=1):
        estimator = estimator_of(function, own, params)
        outputs = _predicted(estimator, fold.validate)
    mean = _mean(loss.rows(outputs, fold.validate.y, fold.validate.groups), fold.validate.weight)
    if not np.isfinite(outputs).all() or not math.isfinite(mean):
        raise InvalidInput("search.no_loss", "its scores are not finite numbers", remedy="Narrow the ranges.")
    return mean


def _mean(rows: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> float:
    """The weighted mean of the rows that have a loss: a ranking has one for each group."""
    counts = ~np.isnan(rows) & (weight > 0)
    return float(np.average(rows[counts], weights=weight[counts])) if counts.any() else math.nan


def _predicted(estimator: Any, part: TrainingSet) -> npt.NDArray[np.float64]:
    try:
        return estimate(estimator, part.X, part.output)
    except Exception as error:  # whatever the user's estimator raises is an outcome of the trial
        raise InvalidInput(
            "search.no_scores", f"it cannot score: {type(error).__name__}: {error}", remedy="Narrow the ranges."
        ) from error
