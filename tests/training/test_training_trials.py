import math
import statistics
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import named
from loopline.runs.searches import Trial
from loopline.training.folds import Folds
from loopline.training.training_set import assemble
from loopline.training.trials import best_of, clearly_worse, fold_rows, run_trial


def done(number, *scores, state="complete", reason=None):
    return Trial(number, state, {"x": number}, scores, reason)


@pytest.fixture
def folds(recipe, world):
    return fold_rows(assemble(recipe, world, as_of=datetime(2026, 1, 12, tzinfo=UTC)), Folds(2), seed=1)


class Constant:
    classes_ = np.array([0.0, 1.0])

    def __init__(self, p):
        self.p = p

    def predict_proba(self, rows):
        return np.column_stack([np.full(len(rows), 1 - self.p), np.full(len(rows), self.p)])


def trial(function, folds, params=None, finished=()):
    ticks = iter(range(100))
    return run_trial(7, params or {}, function, folds, named("log_loss"), finished, clock=lambda: float(next(ticks)))


def test_a_trial_is_judged_on_each_fold_by_rows_it_was_not_fitted_on(folds):
    made = trial(lambda _train, params: Constant(params["p"]), folds, {"p": 0.3})
    expected = [float(np.mean(np.where(fold.validate.y == 1, -math.log(0.3), -math.log(0.7)))) for fold in folds]
    assert made.scores == pytest.approx(expected)
    assert (made.state, made.number, made.params, made.seconds) == ("complete", 7, {"p": 0.3}, 1.0)
    assert made.loss == pytest.approx(statistics.fmean(expected))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda _train, _params: 1 / 0, "ZeroDivisionError"),
        (lambda _train, _params: None, "NoneType is not a fitted classifier"),
        (lambda _train, _params: Constant(math.nan), "not finite"),
        (lambda _train, _params: Constant("a"), "cannot score"),
        (lambda _train, params: params["missing"], "KeyError"),
    ],
)
def test_what_goes_wrong_is_a_failed_trial(folds, function, told):
    made = trial(function, folds)
    assert (made.state, made.scores, made.loss) == ("failed", (), None)
    assert told in made.reason


def test_what_a_function_does_to_its_rows_does_not_reach_the_next_trial(folds):
    def spoils(train, params):
        train.X[:] = 0
        train.y[:1] = 1 - train.y[:1]
        return Constant(0.5)

    before = [(fold.train.X.copy(), fold.train.y.copy()) for fold in folds]
    trial(spoils, folds)
    for fold, (matrix, labels) in zip(folds, before, strict=True):
        np.testing.assert_array_equal(fold.train.X, matrix)
        np.testing.assert_array_equal(fold.train.y, labels)


def test_a_fit_is_given_the_same_rows_and_seed_in_every_trial(folds):
    seen = []

    def remembers(train, params):
        seen.append((train.seed, train.X.tobytes()))
        return LogisticRegression().fit(np.nan_to_num(train.X), train.y)

    class Filled(Constant):
        pass

    trial(lambda train, params: (remembers(train, params), Filled(0.5))[1], folds)
    trial(lambda train, params: (remembers(train, params), Filled(0.4))[1], folds)
    assert seen[:2] == seen[2:]


def test_a_trial_is_stopped_where_it_is_worse_than_most_on_every_fold_so_far():
    complete = [done(number, 0.5 + number / 100, 0.6, 0.7) for number in range(5)]
    assert clearly_worse([0.53, 0.61], complete)
    assert not clearly_worse([0.52, 0.61], complete), "as good as most on the first"
    assert not clearly_worse([0.53, 0.6], complete)
    assert not clearly_worse([0.9], complete), "one fold is chance"
    assert not clearly_worse([0.9, 0.9], [*complete[:4], done(9, 0.1, state="pruned")])


def test_a_stopped_trial_keeps_its_folds_and_says_why(recipe, world):
    folds = fold_rows(assemble(recipe, world, as_of=datetime(2026, 1, 12, tzinfo=UTC)), Folds(3), seed=1)
    complete = [done(number, 0.1, 0.1, 0.1) for number in range(5)]
    made = trial(lambda _train, _params: Constant(0.5), folds, finished=complete)
    assert (made.state, len(made.scores), made.loss) == ("pruned", 2, None)
    assert "worse than most" in made.reason


@pytest.mark.parametrize(
    ("trials", "winner"),
    [
        ([done(0, 0.5, 0.5, 0.5), done(1, 0.4, 0.41, 0.39)], 1),
        ([done(0, 0.5, 0.5, 0.5), done(1, 0.3, 0.55, 0.6)], 0),  # better by 0.017, error 0.083
        ([done(0, 0.5, 0.5), done(1, 0.6, 0.6)], 0),
        ([done(0, state="failed", reason="no"), done(1, 0.6, 0.6), done(2, 0.5, 0.6)], 2),
        ([done(0, 0.5, 0.5), done(1, 0.1, state="pruned"), done(2, 0.4, 0.4), done(3, 0.4, 0.4)], 2),
    ],
)
def test_the_least_loss_wins_unless_the_declared_parameters_are_about_as_good(trials, winner):
    best = best_of(trials)
    assert (best.number, best.params) == (winner, {"x": winner})
    assert best.loss == trials[winner].loss


def test_the_gain_is_held_against_its_paired_standard_error():
    best = best_of([done(0, 0.5, 0.7, 0.6), done(1, 0.45, 0.62, 0.57)])
    apart = [0.05, 0.08, 0.03]
    assert best.better_by == pytest.approx(statistics.fmean(apart))
    assert best.error == pytest.approx(statistics.stdev(apart) / math.sqrt(3))


def test_if_all_failed_that_is_told():
    with pytest.raises(InvalidInput) as caught:
        best_of([done(0, state="failed", reason="the model's function failed: no")])
    assert caught.value.code == "search.all_failed"
    assert "function failed: no" in caught.value.message


def test_other_kinds_are_judged_by_their_own_loss_and_groups_stay_whole(recipe, world):
    numbers = replace(recipe, label=replace(recipe.label, expression=pl.col("delay"), values="number"))
    rows = assemble(numbers, world, as_of=datetime(2026, 1, 12, tzinfo=UTC))
    rows = replace(rows, recipe=replace(numbers, output=Output("regression")))
    folds = fold_rows(rows, Folds(2), seed=1)

    def mean(train, _params):
        return DummyRegressor().fit(train.X, train.y)

    made = run_trial(0, {}, mean, folds, named("squared_error", Output("regression")), (), clock=lambda: 0.0)
    expected = [np.mean((fold.validate.y - fold.train.y.mean()) ** 2) for fold in folds]
    assert made.scores == pytest.approx(expected)

    threes = (pl.int_range(pl.len()) // 3).cast(pl.String)
    grouped = replace(rows, frame=rows.frame.with_columns(_group=threes))
    for fold in fold_rows(grouped, Folds(2), seed=1):
        assert not set(fold.train.groups) & set(fold.validate.groups)
        assert set(fold.train.group_sizes) == {3}
