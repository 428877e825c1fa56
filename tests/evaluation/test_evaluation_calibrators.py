import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

from loopline.errors import InvalidInput
from loopline.evaluation.beta import BetaCalibrator, fit_beta
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.evaluation.calibrators import Calibrator, choose
from loopline.evaluation.conformal import QuantileShift, fit_shift
from loopline.evaluation.isotonic import IsotonicCalibrator, fit_isotonic
from loopline.evaluation.softmax import TemperatureCalibrator, VectorCalibrator, fit_temperature, fit_vector

EACH = [
    LogisticCalibrator(0.8, -0.2),
    BetaCalibrator(0.7, 1.3, 0.1),
    IsotonicCalibrator((0.1, 0.2, 0.7), (0.05, 0.3, 0.9)),
    TemperatureCalibrator(1.7),
    VectorCalibrator((0.9, 1.1, 1.0), (0.1, -0.1, 0.0)),
    QuantileShift((-0.5, 0.0, 0.25)),
]


def drawn(rows, bend, seed=1):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, rows)
    return expit(z), (rng.random(rows) < bend(z)).astype(float)


def classes(rows, temperature, seed=2, number=3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, number))
    true = softmax(logits / temperature, axis=1)
    return softmax(logits, axis=1), (rng.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1).astype(float)


def outputs_for(calibrator, rows=2000):
    rng = np.random.default_rng(5)
    wide = isinstance(calibrator, TemperatureCalibrator | VectorCalibrator | QuantileShift)
    p = rng.random((rows, 3) if wide else rows)
    return p / p.sum(axis=1, keepdims=True) if wide else p


@pytest.mark.parametrize("calibrator", EACH, ids=lambda one: type(one).__name__)
def test_a_row_has_the_same_value_alone_and_among_others(calibrator):
    outputs = outputs_for(calibrator)
    alone = np.concatenate([calibrator.apply(outputs[place : place + 1]) for place in range(len(outputs))])
    np.testing.assert_array_equal(calibrator.apply(outputs), alone)
    np.testing.assert_array_equal(calibrator.apply(outputs[::-1])[::-1], alone)


@pytest.mark.parametrize("calibrator", EACH, ids=lambda one: type(one).__name__)
def test_what_is_kept_of_it_comes_back_as_it_was(calibrator):
    kept = msgspec.json.encode(calibrator)
    assert msgspec.json.decode(kept, type=Calibrator) == calibrator
    outputs = outputs_for(calibrator, 10)
    again = msgspec.json.decode(kept, type=Calibrator).apply(outputs)
    np.testing.assert_array_equal(again, calibrator.apply(outputs))


@pytest.mark.parametrize("calibrator", EACH, ids=lambda one: type(one).__name__)
def test_a_missing_output_stays_missing(calibrator):
    outputs = outputs_for(calibrator, 4)
    outputs[2] = np.nan
    assert np.isnan(calibrator.apply(outputs)[2]).all()
    assert np.isfinite(calibrator.apply(outputs)[[0, 1, 3]]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), ties=st.sampled_from([20, 200, 100_000]))
def test_isotonic_is_scikit_learns(seed, ties):
    rng = np.random.default_rng(seed)
    p = rng.integers(0, ties, 1500) / ties
    y = (rng.random(1500) < p**2).astype(float)
    edge = 1 / 1502
    theirs = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(p, y)
    asked = np.concatenate([p, rng.random(500), [0.0, 1.0]])
    np.testing.assert_allclose(fit_isotonic(p, y).apply(asked), theirs.predict(asked), atol=1e-12)


def test_isotonic_needs_many_rows_and_both_classes():
    p, y = drawn(999, expit)
    assert fit_isotonic(p, y) is None
    assert fit_isotonic(np.linspace(0, 1, 2000), np.zeros(2000)) is None


def test_beta_is_the_maximum_of_its_likelihood():
    p, y = drawn(800, lambda z: expit(0.5 * z - 0.7 * (z > 0)))
    n1 = y.sum()
    targets = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (len(y) - n1 + 2))

    def loss(point):
        z = point[0] * np.log(p) - point[1] * np.log1p(-p) + point[2]
        return np.mean(np.logaddexp(0, z) - targets * z)

    best = minimize(loss, [1.0, 1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
    fitted = fit_beta(p, y)
    np.testing.assert_allclose([fitted.a, fitted.b, fitted.c], best.x, atol=1e-4)


def test_beta_never_falls():
    """Where more confidence means less, that end is levelled; where all is the wrong way round, there is nothing."""
    p, y = drawn(5000, lambda z: expit(-1.5 * z * (z > 0) + 1.5 * z * (z < 0)))
    fitted = fit_beta(p, y)
    assert min(fitted.a, fitted.b) == 0.0
    assert (np.diff(fitted.apply(np.linspace(0.01, 0.99, 99))) >= 0).all()
    assert fit_beta(*reversed_scores()) is None


def reversed_scores():
    p, y = drawn(3000, expit)
    return 1 - p, y


def test_temperature_finds_the_one_that_made_the_labels_and_is_the_maximum():
    p, y = classes(6000, 2.0)
    fitted = fit_temperature(p, y)
    assert fitted.temperature == pytest.approx(2.0, rel=0.05)
    rows, labels = np.arange(len(y)), y.astype(int)

    def loss(scale):
        own = -log_softmax(scale[0] * np.log(p), axis=1)[rows, labels].mean()
        return own + (scale[0] - 1) ** 2 / (2 * len(y))

    best = minimize(loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).x[0]
    assert 1 / fitted.temperature == pytest.approx(best, abs=1e-5)
    np.testing.assert_allclose(fitted.apply(p).sum(axis=1), 1, atol=1e-12)


def test_vector_scaling_is_the_maximum_of_its_likelihood():
    p, y = classes(1500, 1.5)
    rows, labels = np.arange(len(y)), y.astype(int)
    start = np.array([1.0] * 3 + [0.0] * 3)

    def loss(point):
        own = -log_softmax(np.log(p) * point[:3] + point[3:], axis=1)[rows, labels].mean()
        return own + ((point - start) ** 2).sum() / (2 * len(y))

    best = minimize(loss, start, method="BFGS", options={"gtol": 1e-9})
    fitted = fit_vector(p, y)
    np.testing.assert_allclose([*fitted.scale, *fitted.shift], best.x, atol=1e-5)


def test_separable_classes_give_finite_calibrators():
    p, y = np.eye(3)[[0, 1, 2] * 20] * 0.9 + 0.05 / 1.5, np.array([0.0, 1.0, 2.0] * 20)
    p = p / p.sum(axis=1, keepdims=True)
    assert np.isfinite(fit_temperature(p, y).temperature)
    assert np.isfinite([*fit_vector(p, y).scale, *fit_vector(p, y).shift]).all()
    assert fit_temperature(p, np.zeros(60)) is None
    assert fit_vector(p, np.zeros(60)) is None


def test_shifted_quantiles_cover_as_often_as_they_say():
    """Over many draws of the calibration rows, the mean coverage of a further row keeps each level's side."""
    rng, levels = np.random.default_rng(3), (0.1, 0.5, 0.9)
    told = np.array([-0.3, 0.4, 0.5])
    below = np.zeros(3)
    draws = 4000
    for _ in range(draws):
        y = rng.normal(size=60)
        shifted = fit_shift(np.tile(told, (59, 1)), y[:59], levels).apply(told[None])[0]
        below += y[59] <= shifted
    share, error = below / draws, 3 * np.sqrt(0.25 / draws)
    assert share[0] <= 0.1 + error
    assert abs(share[1] - 0.5) <= error
    assert 0.9 - error <= share[2] <= 0.93 + error


def test_a_level_with_too_few_rows_stays_and_crossing_quantiles_are_put_in_order():
    outputs = np.array([[0.0, 1.0]] * 10)
    assert fit_shift(outputs, np.arange(10.0), (0.05, 0.95)).shifts == (0.0, 0.0)
    np.testing.assert_array_equal(QuantileShift((2.0, 0.0)).apply([[0.0, 1.0]]), [[1.0, 2.0]])
    np.testing.assert_array_equal(fit_shift(np.zeros(9), np.arange(9.0), (0.5,)).apply(np.zeros(2)), [4.0, 4.0])


@pytest.mark.parametrize(
    ("bend", "winner"),
    [
        (expit, "identity"),
        (lambda z: expit(0.4 * z + 0.8), "logistic"),
        (lambda z: expit(2.5 * np.log(expit(z)) - 0.2 * np.log(expit(-z)) + 0.3), "beta"),
        (lambda z: 0.15 + 0.7 * (z > 0.7), "isotonic"),
    ],
)
def test_the_simplest_wins_unless_another_is_shown_to_be_better(bend, winner):
    p, y = drawn(12_000, bend)
    made = choose("binary", p, y)
    assert made.name == winner
    assert [one.name for one in made.judged] == ["identity", "logistic", "beta", "isotonic"]
    assert {f"calibration_{name}_brier" for name in ("identity", "beta")} < set(made.metrics())
    assert (made.calibrator is None) == (winner == "identity")
    if winner == "identity":
        np.testing.assert_array_equal(made.apply(p), p)


def test_out_of_fold_figures_are_of_rows_the_candidate_was_not_fitted_on():
    p, y = drawn(2000, lambda z: expit(0.5 * z))
    made = choose("binary", p, y)
    start, losses = 800, []
    for begin, end in ((800, 1200), (1200, 1600), (1600, 2000)):
        q = fit_beta(p[:begin], y[:begin]).apply(p[begin:end])
        losses.append(-np.log(np.where(y[begin:end] == 1, q, 1 - q)))
    by_name = {one.name: one for one in made.judged}
    assert by_name["beta"].log_loss == pytest.approx(np.concatenate(losses).mean(), rel=1e-12)
    assert by_name["identity"].brier == pytest.approx(((p - y) ** 2)[start:].mean(), rel=1e-12)


def test_chance_rarely_bends_a_calibrated_score():
    wrong = sum(choose("binary", *drawn(1000, expit, seed=seed)).name != "identity" for seed in range(200))
    assert wrong <= 200 * 0.15


@pytest.mark.parametrize(("temperature", "winner"), [(1.0, "identity"), (1.8, "temperature")])
def test_several_classes(temperature, winner):
    p, y = classes(6000, temperature)
    made = choose("multiclass", p, y)
    assert made.name == winner
    rows = np.arange(len(y))[2400:]
    identity = made.judged[0]
    assert identity.log_loss == pytest.approx(-np.log(p[rows, y[rows].astype(int)]).mean(), rel=1e-6)
    assert identity.brier == pytest.approx(((p[rows] - np.eye(3)[y[rows].astype(int)]) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("kind", ["regression", "ranking"])
def test_kinds_without_calibration(kind):
    assert choose(kind, np.arange(100.0), np.arange(100.0)).calibrator is None


def test_quantiles_get_their_shift():
    made = choose("quantile", np.zeros((99, 2)), np.arange(1.0, 100.0), levels=(0.1, 0.9))
    assert (made.name, made.calibrator) == ("quantile_shift", QuantileShift((10.0, 90.0)))


@pytest.mark.parametrize("rows", [0, 1, 49])
def test_few_rows_are_left_alone(rows):
    assert choose("binary", np.full(rows, 0.9), np.zeros(rows)).name == "identity"


def test_one_class_is_left_alone():
    assert choose("binary", np.full(500, 0.5), np.ones(500)).name == "identity"


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("calibration.class_shapes", lambda: fit_temperature([0.5, 0.5], [0, 1])),
        ("calibration.class_values", lambda: fit_vector([[0.5, 0.5]], [2])),
        ("calibration.class_values", lambda: fit_vector([[0.5, np.nan]], [0])),
        ("calibration.quantile_shapes", lambda: fit_shift([[1.0, 2.0]], [1.0], (0.5,))),
        ("calibration.quantile_shapes", lambda: fit_shift([[np.nan]], [1.0], (0.5,))),
        ("calibration.values", lambda: fit_beta([1.5], [1.0])),
    ],
)
def test_what_does_not_go_together_is_refused(code, call):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.code == code
