"""Search: which parameters a model is fitted with. Trials are kept as they finish, so that a search goes on where it was."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import structlog

from loopline.clock import ReplayClock
from loopline.errors import InvalidInput
from loopline.evaluation.losses import Loss, named
from loopline.features.definitions import views_digest
from loopline.incidents.actions import Cause
from loopline.loop.code import code_parts
from loopline.loop.declare import Model
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.runs import searches
from loopline.runs.searches import Search, Trial
from loopline.training.fingerprint import column_digests, frame_digest
from loopline.training.sampler import propose
from loopline.training.search_spec import SearchSpec
from loopline.training.space import with_middles
from loopline.training.training_set import LabelledRows
from loopline.training.trials import Best, FoldRows, best_of, fold_rows, run_trial
from loopline.values import canonical_json, derive_id, derive_seed, digest, duration

log = structlog.get_logger(__name__)

Progress = Callable[[int, int, float | None], None]
"""Called before each trial with how many finished, how many there are to be, and the least loss so far."""


class Tuned(msgspec.Struct, frozen=True):
    """The parameters to fit with, and for the lineage where they are from; None where nothing is searched."""

    params: dict[str, Any]
    found_by: dict[str, Any] | None = None


def declared_params(model: Model) -> dict[str, Any]:
    """The parameters of a model that was never searched."""
    return with_middles(model.search.space, model.params) if model.search else dict(model.params)


def tuned(resources: Resources, lane: Lane, rows: LabelledRows, cause: Cause) -> Tuned:
    """The parameters for a training at `cause.at`: of the last search by this definition, or of a new one where it is due.

    A search is due without one before it, where `cause.search` asks, and `search_every` after the last. Where there are too
    few rows to search on, the declared parameters are used.
    """
    model = lane.operation.model
    spec, params = model.search, declared_params(model)
    if spec is None:
        return Tuned(params)
    with resources.database.reading() as tx:
        found = searches.latest(tx, lane.project, lane.model, definition(lane), until=cause.at)
    if found is None or cause.search or (spec.every and cause.at - found.as_of >= duration(spec.every)):
        try:
            found = run_search(resources, lane, rows, as_of=cause.at)
        except InvalidInput as error:
            if error.code not in {"search.too_few_rows", "folds.too_few"}:
                raise
            log.warning("search_skipped", model=lane.model, why=error.message)
            return Tuned(params, {"skipped": error.message})
    best = msgspec.convert(found.result, Best)
    said = {"search": found.search_id, "as_of": found.as_of.isoformat(), "trial": best.number, "why": best.sentence}
    return Tuned(best.params, said)


def run_search(
    resources: Resources,
    lane: Lane,
    rows: LabelledRows,
    *,
    as_of: datetime,
    trials: int | None = None,
    progress: Progress = lambda *_: None,
) -> Search:
    """Search on `rows`, known at `as_of`, up to `trials` in all (None: as declared); gives the search with its result.

    Asked for again, killed or not, it goes on after the last trial that was kept and comes to the same. Raises
    `InvalidInput` for too few rows, and where every trial failed.
    """
    model = lane.operation.model
    spec = _spec(model)
    search = _begun(resources, lane, rows, as_of)
    folds = fold_rows(rows, spec.folds, seed=search.seed)
    loss = _loss(lane)
    with resources.database.transaction() as tx:
        searches.begin(tx, search, params=_told(model, spec, loss))
        finished = searches.trials(tx, search.search_id)
    total = trials or spec.trials
    while len(finished) < total and not _out_of_time(resources, spec, finished):
        progress(len(finished), total, _least(finished))
        trial = _tried(model, spec, folds, loss, finished, search.seed)
        if trial is None:
            log.info("search_exhausted", model=lane.model, trials=len(finished))
            break
        with resources.database.transaction() as tx:
            searches.record(tx, search, trial, at=resources.clock.now())
        finished.append(trial)
    return _concluded(resources, search, finished)


def search_differences(resources: Resources, lane: Lane, rows: LabelledRows, search_id: str) -> Iterator[str]:
    """Make the trials of a finished search again, keeping nothing; a sentence for each thing that comes out otherwise.

    Its trials are left alone where `rows` are not those it was made on.
    """
    with resources.database.reading() as tx:
        search, made = searches.find(tx, search_id), searches.trials(tx, search_id)
    if search is None or search.rows != frame_digest(column_digests(rows.frame)):
        yield "the rows of its search are others now"
        return
    spec, loss, finished = _spec(lane.operation.model), _loss(lane), list[Trial]()
    folds = fold_rows(rows, spec.folds, seed=search.seed)
    for before in made:
        trial = _tried(lane.operation.model, spec, folds, loss, finished, search.seed)
        if trial is None or (trial.params, trial.scores) != (before.params, before.scores):
            yield f"trial {before.number} of its search was {before.params} with losses {before.scores}, and is {trial}"
            return
        finished.append(trial)


def definition(lane: Lane) -> str:
    """A digest of all that a trial's figures depend on, but for the rows and their moment: change it, and it is another search."""
    model = lane.operation.model
    spec = _spec(model)
    return digest(
        canonical_json(
            {
                "space": msgspec.to_builtins(spec.space),
                "folds": msgspec.to_builtins(spec.folds),
                "params": dict(model.params),
                "loss": lane.operation.watch.loss,
                "code": code_parts(model.fit),
                "features": [*model.given, *model.categories, views_digest(model.views)],
                "label": model.label.describe(),
                "output": [msgspec.to_builtins(model.output), model.recipe.group, model.recipe.target],
                "holdout": model.holdout,
            }
        )
    )


def _loss(lane: Lane) -> Loss:
    return named(lane.operation.watch.loss, lane.operation.model.output)


def _spec(model: Model) -> SearchSpec:
    if model.search is None:
        raise InvalidInput(
            "search.not_declared",
            f"model {model.name!r} declares nothing to search",
            remedy='Give @loop.model a space: search={"learning_rate": ll.loguniform(0.02, 0.3)}.',
        )
    return model.search


def _begun(resources: Resources, lane: Lane, rows: LabelledRows, as_of: datetime) -> Search:
    seed = derive_seed(lane.seed, "search", lane.model, as_of.isoformat())
    described, content = definition(lane), frame_digest(column_digests(rows.frame))
    return Search(
        search_id=derive_id("run", seed, lane.project, lane.model, described, content),
        project=lane.project,
        model=lane.model,
        definition=described,
        rows=content,
        as_of=as_of,
        seed=seed,
        started_at=resources.clock.now(),
    )


def _tried(
    model: Model, spec: SearchSpec, folds: list[FoldRows], loss: Loss, finished: list[Trial], seed: int
) -> Trial | None:
    """The next trial, made; None where there is nothing new to try."""
    params = _next(model, spec, finished, seed)
    if params is None:
        return None
    return run_trial(len(finished), params, model.fit, folds, loss, finished, clock=time.perf_counter)


def _told(model: Model, spec: SearchSpec, loss: Loss) -> dict[str, Any]:
    """What the search's run was given; how long it goes on is no part of it."""
    return {
        "space": msgspec.to_builtins(spec.space),
        "folds": msgspec.to_builtins(spec.folds),
        "loss": loss.name,
        "params": dict(model.params),
    }


def _next(model: Model, spec: SearchSpec, finished: list[Trial], seed: int) -> dict[str, Any] | None:
    """The declared parameters first, then what the sampler asks for, together with what is not searched."""
    declared = declared_params(model)
    asked = propose(spec.space, finished, seed=seed) if finished else {}
    return None if asked is None else dict(sorted({**declared, **asked}.items()))


def _out_of_time(resources: Resources, spec: SearchSpec, finished: list[Trial]) -> bool:
    if not spec.timeout or not finished or isinstance(resources.clock, ReplayClock):
        return False
    return sum(trial.seconds for trial in finished) >= duration(spec.timeout).total_seconds()


def _least(finished: list[Trial]) -> float | None:
    return min((trial.loss for trial in finished if trial.loss is not None), default=None)


def _concluded(resources: Resources, search: Search, finished: list[Trial]) -> Search:
    result = msgspec.to_builtins(best_of(finished)) | {"trials": len(finished)}
    with resources.database.transaction() as tx:
        searches.conclude(tx, search, result, at=resources.clock.now())
    return msgspec.structs.replace(search, result=result)
