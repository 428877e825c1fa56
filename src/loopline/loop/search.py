"""Search: which parameters a model is fitted with. Trials are kept as they finish, so that a search goes on where it was."""

from collections.abc import Callable, Iterator, Mapping
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
from loopline.loop.lane import Lane
from loopline.loop.model import Model
from loopline.loop.resources import Resources
from loopline.loop.rounds import Asked, Making, declared_params, earlier, making, proposed, round_of
from loopline.runs import searches
from loopline.runs.searches import Search, Trial
from loopline.training.fingerprint import column_digests, frame_digest
from loopline.training.search_spec import SearchSpec
from loopline.training.training_set import LabelledRows
from loopline.training.trials import Best, best_of, fold_rows
from loopline.values import canonical_json, derive_id, derive_seed, digest, duration

log = structlog.get_logger(__name__)

Progress = Callable[[int, int, float | None], None]
"""Called before each trial that is waited for with how many finished, how many there are to be, and the least loss so far."""


class Tuned(msgspec.Struct, frozen=True):
    """The parameters to fit with, and for the lineage where they are from; None where nothing is searched."""

    params: dict[str, Any]
    found_by: dict[str, Any] | None = None


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

    Asked for again, killed or not, it makes the trials that were not kept and comes to the same; so it does with a crew and
    without. Raises `InvalidInput` for too few rows, and where every trial failed, and as `Crew.start`.
    """
    model = lane.operation.model
    spec = _spec(model)
    search = _begun(resources, lane, rows, as_of)
    asked = Asked(model, spec, fold_rows(rows, spec.folds, seed=search.seed), _loss(lane), search.seed)
    with resources.database.transaction() as tx:
        searches.begin(tx, search, params=_told(model, spec, asked.loss))
        made = {trial.number: trial for trial in searches.trials(tx, search.search_id)}
    total = trials or spec.trials
    with making(resources.crew, asked) as make:
        for first in range(0, total, spec.at_once):
            numbers = [number for number in round_of(first, spec.at_once) if number < total]
            if not _go_round(
                resources, search, asked, make, numbers, made, lambda: progress(len(made), total, _least(made))
            ):
                break
    return _concluded(resources, search, [made[number] for number in sorted(made)])


def _go_round(
    resources: Resources,
    search: Search,
    asked: Asked,
    make: Making,
    numbers: list[int],
    made: dict[int, Trial],
    progress: Callable[[], None],
) -> bool:
    """Make the trials of a round that are missing, each kept as it ends; whether there may be another round."""
    missing = [number for number in numbers if number not in made]
    before = earlier(made, numbers[0])
    if not missing:
        return True
    if _out_of_time(resources, asked.spec, before):
        return False
    wanted = proposed(asked, made, numbers)
    left = {number: params for number, params in wanted.items() if number in missing}
    ended = make(left, before)
    for _ in left:
        progress()
        trial = next(ended)
        with resources.database.transaction() as tx:
            searches.record(tx, search, trial, at=resources.clock.now())
        made[trial.number] = trial
    if len(wanted) < len(numbers):
        log.info("search_exhausted", model=asked.model.name, trials=len(made))
    return len(wanted) == len(numbers)


def search_differences(resources: Resources, lane: Lane, rows: LabelledRows, search_id: str) -> Iterator[str]:
    """Make the trials of a finished search again, keeping nothing; a sentence for each thing that comes out otherwise.

    Its trials are left alone where `rows` are not those it was made on.
    """
    with resources.database.reading() as tx:
        search, made = searches.find(tx, search_id), searches.trials(tx, search_id)
    if search is None or search.rows != frame_digest(column_digests(rows.frame)):
        yield "the rows of its search are others now"
        return
    model, spec = lane.operation.model, _spec(lane.operation.model)
    asked = Asked(model, spec, fold_rows(rows, spec.folds, seed=search.seed), _loss(lane), search.seed)
    kept = {trial.number: trial for trial in made}
    with making(resources.crew, asked) as make:
        for first in range(0, len(made), spec.at_once):
            numbers = [number for number in round_of(first, spec.at_once) if number in kept]
            before = {number: trial for number, trial in kept.items() if number < first}
            again = {trial.number: trial for trial in make(proposed(asked, before, numbers), earlier(before, first))}
            for number in numbers:
                was, trial = kept[number], again.get(number)
                if trial is None or (trial.params, trial.scores) != (was.params, was.scores):
                    yield f"trial {number} of its search was {was.params} with losses {was.scores}, and is {trial}"
                    return


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
                **({} if spec.at_once == 1 else {"at_once": spec.at_once}),
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


def _told(model: Model, spec: SearchSpec, loss: Loss) -> dict[str, Any]:
    """What the search's run was given; how long it goes on is no part of it."""
    return {
        "space": msgspec.to_builtins(spec.space),
        "folds": msgspec.to_builtins(spec.folds),
        "loss": loss.name,
        "params": dict(model.params),
    }


def _out_of_time(resources: Resources, spec: SearchSpec, finished: list[Trial]) -> bool:
    if not spec.timeout or not finished or isinstance(resources.clock, ReplayClock):
        return False
    return sum(trial.seconds for trial in finished) >= duration(spec.timeout).total_seconds()


def _least(made: Mapping[int, Trial]) -> float | None:
    return min((trial.loss for trial in made.values() if trial.loss is not None), default=None)


def _concluded(resources: Resources, search: Search, finished: list[Trial]) -> Search:
    result = msgspec.to_builtins(best_of(finished)) | {"trials": len(finished)}
    with resources.database.transaction() as tx:
        searches.conclude(tx, search, result, at=resources.clock.now())
    return msgspec.structs.replace(search, result=result)
