"""Searches: trials of parameters, kept as they finish, each a run under the search's own run."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from loopline.runs import store, tracking
from loopline.runs.run import Status
from loopline.storage.database import Transaction, insert_once
from loopline.values import derive_id

State = Literal["complete", "pruned", "failed"]

_ENDS: dict[State, Status] = {"complete": "finished", "pruned": "killed", "failed": "failed"}


class Trial(msgspec.Struct, frozen=True):
    """One set of parameters, tried. `scores` is the mean loss on each fold it was given, in order: all of them where it is
    complete. `reason` says why it is not. `seconds` is measured.
    """

    number: int
    state: State
    params: dict[str, Any]
    scores: tuple[float, ...] = ()
    reason: str | None = None
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """The mean over the folds it was given; NaN where it was given none."""
        return sum(self.scores) / len(self.scores) if self.scores else math.nan

    @property
    def loss(self) -> float | None:
        """The mean over all folds; None for a trial that was not given all."""
        return self.mean if self.state == "complete" else None


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """A search: of which model, by which definition, on the rows as known at `as_of` (UTC).

    `definition` is a digest of all that a trial's figures depend on but the rows, `rows` one of these. `result` is what it
    came to, None while nothing was concluded.
    """

    search_id: str
    project: str
    model: str
    definition: str
    rows: str
    as_of: datetime
    seed: int
    started_at: datetime
    result: dict[str, Any] | None = None


def begin(tx: Transaction, search: Search, *, params: Mapping[str, Any]) -> None:
    """Begin a search, with its run. `params` say what is searched. Beginning one that there is already changes nothing."""
    place = {"project": search.project, "experiment": search.model}
    tracking.start(tx, **place, run_id=search.search_id, at=search.started_at)
    tracking.log_params(tx, search.search_id, params)
    insert_once(tx, store.search, msgspec.structs.asdict(search))


def record(tx: Transaction, search: Search, trial: Trial, *, at: datetime) -> None:
    """Keep a finished trial and its run. One that is kept already changes nothing."""
    run_id = derive_id("run", search.seed, search.search_id, trial.number)
    place = {"project": search.project, "experiment": search.model, "parent": search.search_id}
    tracking.start(tx, **place, run_id=run_id, at=at)
    tracking.log_params(tx, run_id, trial.params)
    for fold, score in enumerate(trial.scores):
        tracking.log_metrics(tx, run_id, {"fold_loss": score}, step=fold, at=at)
    if trial.loss is not None:
        tracking.log_metrics(tx, run_id, {"loss": trial.loss}, at=at)
    tracking.finish(tx, run_id, _ENDS[trial.state], at)
    values = msgspec.structs.asdict(trial) | {"search_id": search.search_id, "run_id": run_id}
    values |= {"scores": list(trial.scores), "measured": {"seconds": round(values.pop("seconds"), 6)}}
    insert_once(tx, store.trial, values)


def conclude(tx: Transaction, search: Search, result: Mapping[str, Any], *, at: datetime) -> None:
    """Say what the search came to. One that went on since comes to something else: the last word holds."""
    store.set_result(tx, search.search_id, dict(result))
    tracking.finish(tx, search.search_id, "finished", at)


def trials(tx: Transaction, search_id: str) -> list[Trial]:
    """The finished trials of a search, in order."""
    return [_trial(row) for row in store.trials(tx, search_id)]


def find(tx: Transaction, search_id: str) -> Search | None:
    """The search of that id; None where it never began."""
    row = store.one_search(tx, search_id)
    return Search(**row) if row else None


def latest(
    tx: Transaction, project: str, model: str, definition: str, *, until: datetime | None = None, concluded: bool = True
) -> Search | None:
    """The search by that definition on the newest rows, known `until` then; with `concluded` only one that came to something."""
    for row in store.searches(tx, project, model):
        late = until is not None and row["as_of"] > until
        if row["definition"] == definition and not late and (row["result"] or not concluded):
            return Search(**row)
    return None


def _trial(row: Any) -> Trial:
    told = {name: row[name] for name in ("number", "state", "params", "reason")}
    return Trial(**told, scores=tuple(row["scores"]), seconds=row["measured"]["seconds"])
