import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loopline.decisions.policy import costs, fit
from loopline.errors import InvalidInput, NotFound
from loopline.monitoring.block import BlockSummary, cut, large_enough, merge, summarise, total
from loopline.monitoring.power import power
from loopline.monitoring.risk import Reference, Risk, bet, reference_of
from loopline.monitoring.state import MonitorState, observe

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(seed, count):
    rng = np.random.default_rng(seed)
    p = rng.random(count)
    y = (rng.random(count) < p).astype(float)
    y[rng.random(count) < 0.2] = np.nan
    return p, y


def same(first, second):
    for name, value in msgspec.structs.asdict(first).items():
        assert value == (pytest.approx(getattr(second, name)) if isinstance(value, float) else getattr(second, name))


def test_the_threshold_is_the_blocks_between_two_false_pages():
    assert Risk().threshold == 365.25
    assert Risk(false_pages_per_year=2.0).threshold == 365.25 / 2
    assert Risk(block="1w").threshold == 365.25 / 7
    assert Risk(block="1h").threshold == 365.25 * 24


def test_blocks_meet_at_whole_multiples_of_their_length():
    assert Risk().boundary(START) == START
    assert Risk().boundary(START + timedelta(microseconds=1)) == START + DAY
    assert Risk(block="6h").boundary(START + timedelta(hours=7)) == START + timedelta(hours=12)


@pytest.mark.parametrize(
    "wrong",
    [{"tolerance": 0}, {"min_rows": 0}, {"false_pages_per_year": 0}, {"false_pages_per_year": 400}, {"block": "0d"}],
)
def test_what_declares_no_risk_is_refused(wrong):
    with pytest.raises(InvalidInput):
        Risk(**wrong)


def test_an_unknown_loss_is_refused():
    with pytest.raises(NotFound):
        Risk(loss="auc")


def test_the_reference_is_students():
    x = np.random.default_rng(1).normal(-0.02, 0.03, 14)
    got = reference_of(x.tolist())
    _, high = stats.ttest_1samp(x, 0, alternative="less").confidence_interval(0.95)
    assert (got.mean, got.upper, got.spread) == (
        pytest.approx(x.mean()),
        pytest.approx(high),
        pytest.approx(x.std(ddof=1)),
    )
    with pytest.raises(InvalidInput):
        reference_of([0.1] * 4)
    with pytest.raises(InvalidInput):
        reference_of([0.1] * 5 + [math.inf])


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=5, max_size=40), st.floats(0.001, 0.1))
def test_a_bet_on_the_law_of_the_reference_does_not_pay_at_the_edge_of_what_is_allowed(excesses, tolerance):
    """Blocks as the reference's, all moved to where their mean is what is allowed: those clipped below are paid for by the bet itself."""
    found = reference_of(excesses)
    terms = bet(Risk(tolerance=tolerance), found)
    moved = np.array(excesses) - np.mean(excesses) + found.upper + tolerance
    if found.carry == 0:
        assert np.mean([terms.observation(excess) for excess in moved]) <= terms.mean + 1e-12
    assert 0 < terms.mean < 0.5


def test_what_is_clipped_below_is_as_the_blocks_show_it_and_a_normal_law_at_the_least():
    flat, skewed = np.linspace(-1, 1, 40), -np.random.default_rng(2).exponential(1, 40)
    for x in (flat, skewed):
        found = reference_of(np.random.default_rng(3).permutation(x).tolist())
        below = x.mean() - (1 + 8 / 40) * x.std(ddof=1)
        shown = (np.maximum(x, below).mean() - x.mean()) / x.std(ddof=1)
        usual = stats.norm.expect(lambda z: max(z, -(1 + 8 / 40)))
        assert found.lift == pytest.approx(max(shown, usual))
    assert found.lift > usual > 0


def test_stakes_are_large_enough_to_see_harm_of_two_spreads_within_two_dozen_blocks():
    """And a third sooner than where nothing has shown what is clipped, so that it lies three spreads below."""
    rng, risk = np.random.default_rng(5), Risk(tolerance=0.004)
    learnt = [reference_of(rng.normal(0, 0.04, 18).tolist()) for _ in range(60)]
    harm = rng.normal(0.08, 0.04, (60, 80))

    def waited(reference, excesses):
        state = MonitorState()
        for day, excess in enumerate(excesses):
            observed = observe(risk, reference, state, excess_block(day, float(excess)))
            if observed.harm:
                return day + 1
            state = observed.state
        return len(excesses)

    now = np.median([waited(one, path) for one, path in zip(learnt, harm, strict=True)])
    far = [msgspec.structs.replace(one, lift=None) for one in learnt]
    assert now <= min(24, 0.75 * np.median([waited(one, path) for one, path in zip(far, harm, strict=True)]))


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(0, 0.2), st.integers(5, 100), st.floats(0.001, 0.1), st.floats(-5, 15))
def test_a_bet_is_fair_at_what_is_allowed(mean, spread, blocks, tolerance, excess):
    reference = Reference(mean, mean + stats.t.ppf(0.95, blocks - 1) * spread / math.sqrt(blocks), spread, blocks)
    terms = bet(Risk(tolerance=tolerance), reference)
    assert 0 < terms.mean < 0.5
    assert terms.observation(reference.upper + tolerance) == pytest.approx(terms.mean)
    assert 0 <= terms.observation(excess) <= 1


@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_false_pages_stay_within_the_year_s_budget(noise):
    risk, reference = Risk(false_pages_per_year=4.0), Reference(-0.05, -0.05, 0.04, 30)
    pages, years = 0, 12
    rng = np.random.default_rng(3)
    draw = {"normal": lambda: rng.normal(0, 0.04), "skewed": lambda: rng.exponential(0.04) - 0.04}[noise]
    state = MonitorState()
    for day in range(round(365.25 * years)):
        observed = observe(risk, reference, state, excess_block(day, reference.upper + risk.tolerance + draw()))
        state, pages = observed.state, pages + (observed.harm is not None)
    assert pages <= stats.poisson.ppf(0.999, 4 * years)
    assert pages > years


def excess_block(day, excess):
    """A block of half positives, whose base rate loses log 2, with the given excess."""
    loss = (excess + math.log(2)) * 1000
    return BlockSummary(
        start=START + day * DAY,
        end=START + (day + 1) * DAY,
        predictions=1000,
        labelled=1000,
        positives=500,
        expected=500.0,
        loss=loss,
        log_loss=loss,
        brier=250.0,
    )


def test_power_is_what_a_monitor_does():
    risk, reference = Risk(), Reference(-0.05, -0.045, 0.03, 40)
    week, month = power(risk, reference)
    assert 0 < month.rise < week.rise
    assert power(risk, reference) == [week, month]
    rng, seen = np.random.default_rng(5), 0
    for _ in range(150):
        state = MonitorState()
        for day in range(30):
            observed = observe(
                risk, reference, state, excess_block(day, reference.mean + month.rise + rng.normal(0, 0.03))
            )
            state = observed.state
            if observed.harm:
                seen += 1
                break
    assert stats.binom.ppf(0.001, 150, 0.8) <= seen <= stats.binom.ppf(0.999, 150, 0.8)


def test_no_power_where_no_rise_would_be_seen():
    assert power(Risk(), Reference(-0.05, -0.045, 0.03, 40), ["1d"])[0].rise is None


def test_the_onset_is_where_the_rise_began():
    risk, reference, state = Risk(), Reference(-0.05, -0.045, 0.02, 40), MonitorState()
    for day in range(60):
        observed = observe(risk, reference, state, excess_block(day, -0.05 if day < 20 else 0.1))
        state = observed.state
        if observed.harm:
            break
    assert observed.harm is not None
    assert observed.harm.onset == START + 20 * DAY
    assert observed.harm.excess_since_onset == pytest.approx(0.1)
    assert observed.harm.blocks_since_onset == day - 19
    assert "2026-03-21" in observed.harm.sentence
    assert state.process.log_evidence == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 60)), min_size=2, max_size=5))
def test_merged_blocks_are_the_block_of_all_rows(parts):
    made = [rows(seed, count) for seed, count in parts]
    blocks = [
        summarise(START + i * DAY, START + (i + 1) * DAY, p, y, model_version="3") for i, (p, y) in enumerate(made)
    ]
    p, y = (np.concatenate(column) for column in zip(*made, strict=True))
    same(total(blocks), summarise(START, START + len(parts) * DAY, p, y, model_version="3"))


def test_merging_keeps_each_version_once():
    first = summarise(START, START + DAY, [0.5], [1], model_version="3")
    second = summarise(START + DAY, START + 2 * DAY, [0.5], [1], model_version="3,4")
    assert merge(first, second).model_version == "3,4"


def test_excess_over_each_baseline():
    p, y, other = np.array([0.2, 0.9, 0.6]), np.array([0, 1, 0]), np.array([0.5, 0.5, 0.5])
    block = summarise(START, START + DAY, p, y, baseline=other)
    loss = -np.mean(np.log([0.8, 0.9, 0.4]))
    entropy = -(1 / 3 * np.log(1 / 3) + 2 / 3 * np.log(2 / 3))
    assert block.excess(Risk()) == pytest.approx(loss - entropy)
    assert block.excess(Risk(baseline="scores")) == pytest.approx(loss - np.log(2))
    assert block.excess(Risk(baseline="none")) == pytest.approx(loss)
    with pytest.raises(InvalidInput, match="no baseline scores"):
        summarise(START, START + DAY, p, y).excess(Risk(baseline="scores"))


def test_costs_are_of_the_decisions_taken():
    decision = fit(costs(1, 4), [])
    p, y = np.array([0.1, 0.9, 0.9, 0.1]), np.array([1, 0, 1, np.nan])
    assert summarise(START, START + DAY, p, y, decision=decision).cost == 5
    taken = np.array(["positive", "negative", "abstain", "abstain"])
    block = summarise(START, START + DAY, p, y, decision=decision, decisions=taken)
    assert (block.cost, block.abstained) == (0.5, 2)


@pytest.mark.parametrize(
    ("p", "y", "baseline"), [([0.1], [0, 1], None), ([0.1], [2], None), ([0.1, 0.2], [1, 0], [0.3, np.nan])]
)
def test_bad_rows_are_refused(p, y, baseline):
    with pytest.raises(InvalidInput):
        summarise(START, START + DAY, p, y, baseline=baseline)


def test_small_blocks_are_merged_into_the_next():
    blocks = [
        excess_block(0, 0),
        *(summarise(START + d * DAY, START + (d + 1) * DAY, [0.5] * 80, [1] * 80) for d in range(1, 6)),
    ]
    full = large_enough(blocks, 200)
    assert [(block.start, block.labelled) for block in full] == [(START, 1000), (START + DAY, 240)]


def test_cut_is_by_days_of_utc_that_end_inclusive():
    at = [START, START + timedelta(microseconds=1), START + DAY, START + DAY * 3.5, START + DAY * 2.5]
    frame = pl.DataFrame(
        {
            "at": pl.Series(at).dt.convert_time_zone("America/New_York"),
            "score": [0.1, 0.2, None, 0.4, 0.5],
            "label": [True, False, True, None, True],
            "model_version": [1, 1, 2, 2, 2],
        }
    )
    blocks = cut(frame, Risk())
    assert [block.end for block in blocks] == [START, START + DAY, START + 3 * DAY, START + 4 * DAY]
    assert [(block.predictions, block.labelled) for block in blocks] == [(1, 1), (2, 1), (1, 1), (1, 0)]
    assert [block.model_version for block in blocks] == ["1", "1,2", "2", "2"]
    assert sum(block.expected for block in blocks) == pytest.approx(0.1 + 0.2 + 0.5)


def test_cut_of_nothing_is_nothing():
    empty = pl.DataFrame(schema={"at": pl.Datetime("us", "UTC"), "score": pl.Float64, "label": pl.Int8})
    assert cut(empty, Risk()) == []
    with pytest.raises(InvalidInput):
        total([])


def test_json_brings_a_state_back_with_rows_that_wait():
    observed = observe(Risk(), Reference(0, 0, 0.1, 9), MonitorState(), summarise(START, START + DAY, [0.5], [1]))
    assert observed.state.pending is not None
    assert msgspec.json.decode(msgspec.json.encode(observed.state), type=MonitorState) == observed.state
