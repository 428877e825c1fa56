from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.kind import Kind, Output
from loopline.evaluation.losses import brier, entropy, log_loss, losses_of, named, require_fit, zero_one
from loopline.evaluation.ranking import ndcg_loss

P = np.array([0.0, 0.2, 0.5, 0.9, 1.0, 0.4])
Y = np.array([0, 1, 1, 1, 0, 0])
OUTPUTS = {
    "binary": Output(),
    "multiclass": Output("multiclass", ("a", "b", "c")),
    "regression": Output("regression"),
    "quantile": Output("quantile", levels=(0.1, 0.5, 0.9)),
    "ranking": Output("ranking"),
}


def test_as_scikit_learn_has_them():
    assert log_loss(P, Y).mean() == pytest.approx(metrics.log_loss(Y, np.clip(P, 1e-4, 1 - 1e-4)))
    assert brier(P, Y).mean() == pytest.approx(metrics.brier_score_loss(Y, P))
    assert zero_one(P, Y).mean() == pytest.approx(metrics.zero_one_loss(Y, P >= 0.5))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_missing_output_or_label_is_a_missing_loss(kind):
    for name in losses_of(kind):
        loss = named(name, OUTPUTS[kind])
        outputs = np.where([[True], [False]], np.nan, 0.3 if OUTPUTS[kind].width == 1 else np.full(3, 1 / 3))
        assert np.isnan(loss.rows(OUTPUTS[kind].shaped(outputs), np.array([1, np.nan]))).all()


@settings(deadline=None)
@given(st.sampled_from(losses_of("binary")), st.integers(0, 40), st.integers(1, 40))
def test_the_base_rate_loses_what_always_predicting_it_loses(name, positives, negatives):
    y = np.repeat([1.0, 0.0], [positives, negatives])
    loss = named(name)
    assert loss.of_base_rate(y.mean()) == pytest.approx(loss.rows(np.full(len(y), y.mean()), y).mean())


@settings(deadline=None)
@given(st.sampled_from(losses_of("binary")), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1))
def test_two_classes_told_apart_lose_what_one_probability_loses(name, rows):
    p, y = np.array(rows, dtype=float).T
    both = named(name, Output("multiclass", ("no", "yes"))).rows(np.column_stack([1 - p, p]), y)
    ties = p == 0.5
    assert both[~ties] == pytest.approx(named(name).rows(p, y)[~ties])


def test_several_classes_as_scikit_learn_has_them():
    rng = np.random.default_rng(3)
    p, y = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    of = Output("multiclass", ("a", "b", "c"))
    assert named("log_loss", of).rows(p, y).mean() == pytest.approx(metrics.log_loss(y, np.clip(p, 1e-4, 1)), rel=1e-3)
    assert named("brier", of).rows(p, y).mean() == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(axis=1).mean() / 2)
    assert named("zero_one", of).rows(p, y).mean() == pytest.approx(1 - metrics.accuracy_score(y, p.argmax(axis=1)))


def test_quantiles_as_scikit_learn_has_them():
    rng = np.random.default_rng(4)
    q, y = np.sort(rng.normal(size=(100, 2)), axis=1), rng.normal(size=100)
    expected = [metrics.mean_pinball_loss(y, q[:, i], alpha=level) for i, level in enumerate((0.1, 0.9))]
    assert named("pinball", Output("quantile", levels=(0.1, 0.9))).rows(q, y).mean() == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("kind", OUTPUTS)
def test_no_constant_loses_less_than_the_best(kind):
    rng, of = np.random.default_rng(5), OUTPUTS[kind]
    y = rng.integers(0, 3 if kind == "multiclass" else 2, 60).astype(float)
    for name in losses_of(kind):
        loss = named(name, of)
        best = np.nanmean(loss.best_constant(np.empty(0), y))
        for _ in range(50):
            constant = rng.dirichlet(np.ones(3)) if kind == "multiclass" else np.sort(rng.random(of.width))
            assert np.nanmean(loss.rows(of.shaped(np.tile(constant, (60, 1))), y)) >= best - 1e-9


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=25))
def test_orders_as_scikit_learn_has_them(rows):
    scores, grades, groups = np.array(rows, dtype=float).T
    losses = ndcg_loss(scores, grades, groups)
    for group in np.unique(groups):
        mine = groups == group
        gains = (2 ** grades[mine] - 1)[None, :]
        known = mine.sum() > 1 and gains.any()
        expected = 1 - metrics.ndcg_score(gains, scores[mine][None, :]) if known else 0.0
        assert losses[np.flatnonzero(mine)[0]] == pytest.approx(expected)
        assert np.isnan(losses[np.flatnonzero(mine)[1:]]).all()


def test_a_loss_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match="squared_error"):
        require_fit("log_loss", Output("regression"))


def test_entropy_is_in_nats():
    assert entropy(0.5) == pytest.approx(np.log(2))


def test_an_unknown_loss_names_those_there_are():
    with pytest.raises(NotFound, match="brier"):
        named("auc")
