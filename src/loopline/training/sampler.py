"""What to try next: Optuna's tree-structured Parzen estimator, seeded anew for every trial."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopline.runs.searches import Trial
from loopline.training.space import Choice, Integer, LogUniform, Range, Space, Uniform
from loopline.values import derive_seed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STARTUP = 8  # trials at random before the estimator has something to go by
_TRIES = 20


def propose(
    space: Space, finished: Sequence[Trial], *, seed: int, beside: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any] | None:
    """Parameters that were not tried yet, given all that finished, and those of the trials that run `beside`; None where the
    sampler has nothing new to ask.

    What it says depends on the arguments alone: the study is filled again each time, and the sampler's seed is derived from how
    many trials there are. So a search that was stopped goes on as if it had not been. Of trials that run beside it is supposed that
    they come out badly, so that the next keeps away from them.

    Bergstra, Bardenet, Bengio and Kegl, Algorithms for hyper-parameter optimization, NeurIPS 2011; Ginsbourger, Le Riche and
    Carraro, Kriging is well-suited to parallelize optimization, 2010, for the lie.
    """
    tried = [_searched(params, space) for params in (*(trial.params for trial in finished), *beside)]
    for attempt in range(_TRIES):
        study = study_of(
            space, finished, seed=derive_seed(seed, "sampler", len(finished) + len(beside), attempt), beside=beside
        )
        asked = dict(study.ask(_distributions(space)).params)
        if asked not in tried:
            return asked
    return None


def importance(space: Space, finished: Sequence[Trial], *, seed: int) -> dict[str, float]:
    """How much of the variance of the loss over the space each parameter explains, largest first; they sum to 1.

    Empty for fewer than five complete trials, or where all came to one loss. Hutter, Hoos and Leyton-Brown, An efficient
    approach for assessing hyperparameter importance, ICML 2014.
    """
    inside = [trial for trial in finished if trial.state == "complete" and _contains(space, trial.params)]
    if len(inside) < 5 or len({trial.loss for trial in inside}) == 1:  # noqa: PLR2004 - below, a forest says nothing
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # noqa: PLC0415 - half a second

    study = study_of(space, inside, seed=seed)
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))
    return {name: float(share) for name, share in found.items()}


def study_of(
    space: Space, finished: Sequence[Trial], *, seed: int, beside: Sequence[Mapping[str, Any]] = ()
) -> "Study":
    """An Optuna study in memory that holds the finished trials, and those that run `beside`, whose parameters lie in the space. One
    that failed is told as pruned at once, which is worse than any other: so that the sampler learns to keep away.
    """
    import optuna  # noqa: PLC0415 - half a second, which only a search should wait for

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the lie is called experimental
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=bool(beside))
        study = optuna.create_study(sampler=sampler)
    finally:
        optuna.logging.set_verbosity(before)
    distributions = _distributions(space)
    for trial in finished:
        if _contains(space, trial.params):
            study.add_trial(_frozen(trial, _searched(trial.params, space), distributions))
    for params in beside:
        if _contains(space, params):
            study.add_trial(_running(_searched(params, space), distributions))
    return study


def _frozen(trial: Trial, params: dict[str, Any], distributions: "Mapping[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import TrialState  # noqa: PLC0415 - as above

    return _told(
        state=TrialState.COMPLETE if trial.state == "complete" else TrialState.PRUNED,
        value=trial.loss,
        params=params,
        distributions=dict(distributions),
        intermediate_values=dict(enumerate(trial.scores)),
    )


def _running(params: dict[str, Any], distributions: "Mapping[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import TrialState  # noqa: PLC0415 - as above

    return _told(state=TrialState.RUNNING, params=params, distributions=dict(distributions))


def _told(**said: Any) -> "FrozenTrial":
    from optuna.trial import create_trial  # noqa: PLC0415 - as above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_trial(**said)


def _searched(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    return {name: params[name] for name in space if name in params}


def _contains(space: Space, params: Mapping[str, Any]) -> bool:
    """Whether these parameters could have been drawn: a declared value may lie outside of its range."""
    return all(name in params and _holds(found, params[name]) for name, found in space.items())


def _holds(found: Range, value: Any) -> bool:
    if isinstance(found, Choice):
        return any(type(value) is type(one) and value == one for one in found.of)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return found.low <= value <= found.high and (not isinstance(found, Integer) or int(value) == value)


def _distributions(space: Space) -> "dict[str, BaseDistribution]":
    from optuna.distributions import (  # noqa: PLC0415 - as above
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    made: dict[str, BaseDistribution] = {}
    for name, found in space.items():
        match found:
            case Uniform(low, high):
                made[name] = FloatDistribution(low, high)
            case LogUniform(low, high):
                made[name] = FloatDistribution(low, high, log=True)
            case Integer(low, high, log):
                made[name] = IntDistribution(low, high, log=log)
            case Choice(of):
                made[name] = CategoricalDistribution(of)
    return made
