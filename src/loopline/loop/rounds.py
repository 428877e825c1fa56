"""Trials of a search in rounds: those of one round are proposed together, and made one by one or side by side, with the same outcome.

Round r of `at_once` = w trials has the numbers r w to (r + 1) w - 1. What a trial is given, and when it is stopped as clearly worse,
follows from the rounds before and from the numbers before it in its own; not from which of these came out first, nor from how
many were made at a time. So a search is the same on any executor, and killed and resumed.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from loopline.evaluation.losses import Loss, named
from loopline.executors.crew import Crew, Errand
from loopline.executors.transit import unparcelled
from loopline.loop.abroad import Abroad, abroad, fit_function
from loopline.loop.model import Model
from loopline.pipelines.codecs import Value, bring
from loopline.runs.searches import Trial
from loopline.training.carried import brought, carried
from loopline.training.sampler import propose
from loopline.training.search_spec import SearchSpec
from loopline.training.space import with_middles
from loopline.training.trials import FoldRows, run_trial

_TRY = f"{__name__}:try_params"


@dataclass(frozen=True)
class Asked:
    """What is searched, on which folds, by which loss."""

    model: Model
    spec: SearchSpec
    folds: Sequence[FoldRows]
    loss: Loss
    seed: int


class Making(Protocol):
    """Makes the trials of one round."""

    def __call__(self, wanted: Mapping[int, dict[str, Any]], before: Sequence[Trial]) -> Iterator[Trial]:
        """The trials of these numbers and parameters, as they end. `before` are those of the rounds before."""


def declared_params(model: Model) -> dict[str, Any]:
    """The parameters of a model that was never searched."""
    return with_middles(model.search.space, model.params) if model.search else dict(model.params)


def round_of(number: int, at_once: int) -> range:
    """The numbers of the round that a trial is in."""
    first = number // at_once * at_once
    return range(first, first + at_once)


def proposed(asked: Asked, made: Mapping[int, Trial], numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The parameters of each trial of a round, or of its beginning where there is nothing more to try; those of trials that were made as they were made.

    The declared parameters come first, then what the sampler asks for, together with what is not searched.
    """
    before = earlier(made, numbers[0])
    beside: list[dict[str, Any]] = []
    for number in numbers:
        params = made[number].params if number in made else _next(asked, before, beside)
        if params is None:
            break
        beside.append(params)
    return dict(zip(numbers, beside, strict=False))


def earlier(made: Mapping[int, Trial], number: int) -> list[Trial]:
    """The trials with a smaller number, in order."""
    return [made[one] for one in sorted(made) if one < number]


def making(crew: Crew | None, asked: Asked) -> AbstractContextManager[Making]:
    """How rounds are made: by the crew, if there is one and it can have the model's function, else here, one after the other."""
    place = abroad(crew, asked.model, declared_params(asked.model))
    return nullcontext(_here(asked)) if crew is None or place is None else _sent(crew, place, asked)


def try_params(fit: str, number: int, params: dict[str, Any], folds: bytes, loss: str, before: list[Trial]) -> Trial:
    """A trial, in a process of the executor."""
    sets = brought(unparcelled(folds))
    pairs = [FoldRows(*pair) for pair in zip(sets[::2], sets[1::2], strict=True)]
    judged_by = named(loss, pairs[0].train.output)
    return run_trial(number, params, fit_function(fit), pairs, judged_by, before, clock=time.perf_counter)


def _here(asked: Asked) -> Making:
    def make(wanted: Mapping[int, dict[str, Any]], before: Sequence[Trial]) -> Iterator[Trial]:
        fit = asked.model.fit
        for number, params in wanted.items():
            yield run_trial(number, params, fit, asked.folds, asked.loss, before, clock=time.perf_counter)

    return make


@contextmanager
def _sent(crew: Crew, place: Abroad, asked: Asked) -> Iterator[Making]:
    """The folds are sent once, and are there until the search ends."""
    sets = [part for fold in asked.folds for part in (fold.train, fold.validate)]
    with crew.parcel(carried(sets)) as folds:

        def make(wanted: Mapping[int, dict[str, Any]], before: Sequence[Trial]) -> Iterator[Trial]:
            given = {"fit": place.key, "loss": asked.loss.name, "before": list(before)}
            shared = {name: crew.value(value) for name, value in given.items()} | {"folds": folds}
            started = [
                crew.start(_errand(crew, place, asked, {"number": number, "params": params}, shared))
                for number, params in wanted.items()
            ]
            try:
                for ended in as_completed(started):
                    trial: Trial = bring(ended.result(), Trial, crew.transit)
                    yield trial
            finally:
                for one in started:
                    crew.forget(one)

        yield make


def _errand(crew: Crew, place: Abroad, asked: Asked, own: Mapping[str, Any], shared: Mapping[str, Value]) -> Errand:
    arguments = {**{name: crew.value(value) for name, value in own.items()}, **shared}
    return Errand(f"trial {own['number']} of {asked.model.name}", _TRY, arguments, place.code)


def _next(asked: Asked, before: Sequence[Trial], beside: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    declared = declared_params(asked.model)
    first = not before and not beside
    found = {} if first else propose(asked.spec.space, before, seed=asked.seed, beside=beside)
    return None if found is None else dict(sorted({**declared, **found}.items()))
