import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from loopline.errors import NotFound
from loopline.evaluation.losses import LOSSES, brier, entropy, log_loss, named, zero_one

P = np.array([0.0, 0.2, 0.5, 0.9, 1.0, 0.4])
Y = np.array([0, 1, 1, 1, 0, 0])


def test_as_scikit_learn_has_them():
    assert log_loss(P, Y).mean() == pytest.approx(metrics.log_loss(Y, np.clip(P, 1e-4, 1 - 1e-4)))
    assert brier(P, Y).mean() == pytest.approx(metrics.brier_score_loss(Y, P))
    assert zero_one(P, Y).mean() == pytest.approx(metrics.zero_one_loss(Y, P >= 0.5))


@pytest.mark.parametrize("name", LOSSES)
def test_a_missing_score_or_label_is_a_missing_loss(name):
    assert np.isnan(named(name).rows([np.nan, 0.3], [1, np.nan])).all()


@settings(deadline=None)
@given(st.sampled_from(sorted(LOSSES)), st.floats(0, 1), st.integers(0, 1))
def test_bounds_hold_and_are_reached(name, p, y):
    loss = named(name)
    assert loss.lower <= loss.rows([p], [y])[0] <= loss.upper
    assert loss.rows([y], [y])[0] == pytest.approx(loss.lower)
    assert loss.rows([1 - y], [y])[0] == pytest.approx(loss.upper)


@settings(deadline=None)
@given(st.sampled_from(sorted(LOSSES)), st.integers(0, 40), st.integers(1, 40))
def test_the_base_rate_loses_what_always_predicting_it_loses(name, positives, negatives):
    y = np.repeat([1.0, 0.0], [positives, negatives])
    loss = named(name)
    assert loss.of_base_rate(y.mean()) == pytest.approx(loss.rows(np.full(len(y), y.mean()), y).mean())


def test_entropy_is_in_nats():
    assert entropy(0.5) == pytest.approx(np.log(2))


def test_an_unknown_loss_names_those_there_are():
    with pytest.raises(NotFound, match="brier"):
        named("auc")
