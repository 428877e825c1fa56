"""The gates on made-up comparisons, where the truth is known: against scipy, and by counting how often they err."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss as sklearn_log_loss

import loopline as ll
from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.losses import losses_of, named
from loopline.gates.better import better
from loopline.gates.check import Check, Comparison, examine_all
from loopline.gates.not_worse import NotWorse, not_worse


def comparison(rows: pl.DataFrame) -> Comparison:
    return Comparison(rows, "version 2", "version 1")


def made(seed, *, blocks=20, each=50, candidate=0.0, champion=0.0, wobble=0.0, carriers=3) -> Comparison:
    """Labels of known probability; each model's logits are off by noise of its own size, and by the day's wobble."""
    rng = np.random.default_rng(seed)
    rows = blocks * each
    logits = rng.normal(-1, 1, rows)
    day = np.repeat(np.arange(blocks), each)
    off = rng.normal(0, wobble, (2, blocks))[:, day]

    def scores(size: float, day_off: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(logits + rng.normal(0, 1, rows) * size + day_off)))

    frame = pl.DataFrame(
        {
            "block": day,
            "label": (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype(float),
            "candidate": scores(candidate, off[0]),
            "champion": scores(champion, off[1]),
            "carrier": rng.choice([f"C{number}" for number in range(carriers)], rows),
        }
    )
    return comparison(frame)


def swapped(made_rows: Comparison) -> Comparison:
    return comparison(made_rows.rows.rename({"candidate": "champion", "champion": "candidate"}))


def block_means(found: Comparison, loss: str) -> np.ndarray:
    rows, of = found.rows, named(loss).rows
    difference = of(rows["candidate"], rows["label"]) - of(rows["champion"], rows["label"])
    means = pl.DataFrame({"block": rows["block"], "difference": difference}).group_by("block").mean()
    return means["difference"].to_numpy()


@pytest.mark.parametrize("loss", losses_of("binary"))
@given(seed=st.integers(0, 10_000), confidence=st.floats(0.6, 0.99))
@settings(max_examples=15, deadline=None)
def test_with_even_blocks_it_is_the_t_interval_of_their_means(loss, seed, confidence):
    found = made(seed, blocks=12, candidate=0.4, champion=0.9, wobble=0.1)
    verdict = better(loss, confidence=confidence).examine(found)
    means = block_means(found, loss)
    lower, upper = stats.t.interval(2 * confidence - 1, len(means) - 1, means.mean(), stats.sem(means))
    difference = verdict.figures["difference"]
    np.testing.assert_allclose([difference["lower"], difference["upper"]], [lower, upper], rtol=1e-9)
    assert verdict.passed == (upper < 0)
    assert (difference["blocks"], difference["rows"]) == (12, 600)


def test_it_tells_the_losses_and_names_both():
    found = made(3, candidate=0.1, champion=1.0)
    verdict = better("log_loss").examine(found)
    means = {name: sklearn_log_loss(found.rows["label"], found.rows[name]) for name in ("candidate", "champion")}
    assert {name: verdict.figures[name] for name in means} == pytest.approx(means, rel=1e-6)
    assert verdict.passed
    assert verdict.sentence.startswith(
        f"version 2 has a log_loss of {means['candidate']:.4f} against {means['champion']:.4f} of version 1: "
    )
    assert not better("log_loss").examine(swapped(found)).passed


def test_equal_models_and_a_single_block_are_not_better():
    same = made(1)
    same = comparison(same.rows.with_columns(champion="candidate"))
    assert not better().examine(same).passed
    assert not better().examine(made(1, blocks=1, each=900, champion=3.0)).passed


def test_a_candidate_that_is_no_better_seldom_passes():
    """Both are off by the same; rows of a day move together, which a test row by row would not see."""
    trials, level = 400, 0.1
    alike = [made([5, trial], blocks=14, each=80, candidate=0.3, champion=0.3, wobble=1.0) for trial in range(trials)]
    passed = sum(better(confidence=1 - level).examine(found).passed for found in alike)
    assert stats.binomtest(passed, trials, level).pvalue > 1e-3
    assert sum(map(row_by_row_passes, alike)) > 2 * level * trials


def row_by_row_passes(found: Comparison) -> bool:
    loss, rows = named("log_loss").rows, found.rows
    difference = loss(rows["candidate"], rows["label"]) - loss(rows["champion"], rows["label"])
    return bool(stats.ttest_1samp(difference, 0, alternative="less").pvalue < 0.1)


def test_a_much_better_candidate_nearly_always_passes():
    assert all(better().examine(made([6, trial], blocks=14, champion=1.2)).passed for trial in range(60))


def test_a_slice_that_got_worse_is_named():
    found = made(7, blocks=30, each=100)
    worse = pl.when(pl.col("carrier") == "C1").then(1 - pl.col("candidate")).otherwise("candidate")
    verdict = not_worse("log_loss", by="carrier").examine(comparison(found.rows.with_columns(candidate=worse)))
    assert not verdict.passed
    assert verdict.check == "not_worse by carrier"
    assert verdict.sentence == "By carrier, version 2 is worse in carrier=C1 than version 1."


def test_slice_levels_are_those_of_scipy_after_holm():
    found = made(8, blocks=25, each=80, candidate=0.8, champion=0.7, wobble=0.2, carriers=4)
    verdict = not_worse(by="carrier", margin=0.002).examine(found)
    raw = {name: p_of(found, name, 0.002) for name in ("C0", "C1", "C2", "C3")}
    order = sorted(raw, key=raw.__getitem__)
    adjusted = {
        name: max(min(1.0, (4 - rank) * raw[other]) for rank, other in enumerate(order[: order.index(name) + 1]))
        for name in order
    }
    for one in verdict.figures["slices"]:
        carrier = one["name"].removeprefix("carrier=")
        assert one["p"] == pytest.approx(raw[carrier], rel=1e-6)
        assert one["p_adjusted"] == pytest.approx(adjusted[carrier], rel=1e-6)
    assert verdict.passed == (min(adjusted.values()) > 0.05)


def p_of(found: Comparison, carrier: str, margin: float) -> float:
    """Blocks of unequal size by hand: the clusters' residuals, summed, against Student's t."""
    rows = found.rows.filter(pl.col("carrier") == carrier)
    loss = named("log_loss").rows
    difference = loss(rows["candidate"], rows["label"]) - loss(rows["champion"], rows["label"])
    mean = difference.mean()
    sums = [(difference[(rows["block"] == block).to_numpy()] - mean).sum() for block in rows["block"].unique()]
    count = len(sums)
    error = np.sqrt(count / (count - 1) * np.sum(np.square(sums))) / len(difference)
    return float(stats.t.sf((mean - margin) / error, count - 1))


def test_many_slices_do_not_mean_many_false_alarms():
    trials = 200
    failed = [
        not not_worse(by="carrier")
        .examine(made([9, trial], blocks=20, each=60, candidate=0.4, champion=0.4, wobble=0.2, carriers=6))
        .passed
        for trial in range(trials)
    ]
    assert stats.binomtest(sum(failed), trials, 0.05, alternative="greater").pvalue > 1e-3


def test_a_margin_lets_small_losses_pass():
    found = made(10, blocks=40, each=100, candidate=0.5, carriers=1)
    rise = block_means(found, "log_loss").mean()
    assert not not_worse(by="carrier").examine(found).passed
    assert not_worse(by="carrier", margin=2 * rise).examine(found).passed


@pytest.mark.parametrize("values", [["A"] * 400 + ["B"] * 90 + [None] * 10, [1.5] * 400 + [2.5] * 90 + [None] * 10])
def test_small_slices_are_counted_and_not_judged(values):
    found = made(11, blocks=10, each=50)
    verdict = not_worse(by="route").examine(comparison(found.rows.with_columns(route=pl.Series(values))))
    judged = [one["interval"]["rows"] for one in verdict.figures["slices"]]
    assert sum(judged) + verdict.figures["rows_not_judged"] == 500
    assert all(rows >= 100 for rows in judged)


def test_no_slice_large_enough_is_not_shown_to_be_worse():
    verdict = NotWorse(by="carrier", min_rows=10_000).examine(made(12))
    assert verdict.passed
    assert verdict.figures["slices"] == []


def test_every_check_is_asked():
    found = swapped(made(13, champion=1.5))
    verdicts = examine_all([better(), not_worse(by="carrier")], found)
    assert [(verdict.check, verdict.passed) for verdict in verdicts] == [
        ("better", False),
        ("not_worse by carrier", False),
    ]
    assert examine_all([], found) == []


def test_without_rows_there_is_nothing_to_judge():
    empty = comparison(made(14).rows.clear())
    with pytest.raises(InvalidInput) as caught:
        examine_all([better()], empty)
    assert caught.value.code == "gate.no_rows"


def test_a_column_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InvalidInput) as caught:
        not_worse(by="route").examine(made(15))
    assert caught.value.code == "gate.unknown_slice"
    assert "carrier" in caught.value.remedy


@pytest.mark.parametrize("make", [lambda: better("auc"), lambda: not_worse("auc", by="carrier")])
def test_unknown_losses_are_refused_when_declared(make):
    with pytest.raises(NotFound) as caught:
        make()
    assert caught.value.code == "loss.unknown"


@pytest.mark.parametrize("confidence", [0.5, 1.0, 1.5, 0.0, float("nan")])
def test_a_confidence_that_is_none_is_refused_when_declared(confidence):
    for make in (lambda: better(confidence=confidence), lambda: not_worse(by="carrier", confidence=confidence)):
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.code == "gate.confidence"


def test_checks_are_told_apart_in_plain_values():
    plain = ll.better("brier", confidence=0.8), ll.not_worse("brier", by="carrier")
    assert all(isinstance(check, Check) for check in plain)
    assert plain[0] == better("brier", confidence=0.8)
    assert plain[0] != better("brier")
