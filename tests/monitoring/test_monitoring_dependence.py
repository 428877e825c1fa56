"""Seasons and what is carried over: learnt from a reference, taken off, and the budget of false pages kept."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.evidence.e_sr import STAKES
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.dependence import Dependence, autocorrelation, dependence_of, of_season, places_in_cycle
from loopline.monitoring.risk import Reference, Risk, bet, reference_of
from loopline.monitoring.state import MonitorState, observe

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
WEEK = np.array([1.0, -0.5, -0.5, 0.0, 0.0, 0.5, -0.5])
REFERENCE_DAYS, YEARS = 56, 8


def days(count):
    return [START + place * DAY for place in range(count)]


def autoregression(rng, paths, steps, carry, deviation=0.03):
    x = np.empty((paths, steps))
    x[:, 0] = rng.normal(0, deviation / math.sqrt(1 - carry**2), paths)
    for t in range(1, steps):
        x[:, t] = carry * x[:, t - 1] + rng.normal(0, deviation, paths)
    return x


def block(place, excess, rows=1000):
    begin = START + place * DAY
    return BlockSummary(
        start=begin,
        end=begin + DAY,
        predictions=rows,
        labelled=rows,
        positives=500.0,
        expected=500.0,
        loss=excess * rows,
    )


def pages(excess, references, risk):
    """Another implementation, over many paths at once and in plain numbers: alarms of each path, (paths, steps)."""
    season = np.array(
        [[one.season[(place + 4) % 7] if one.season else 0.0 for place in range(excess.shape[1])] for one in references]
    )
    allowed = np.array([one.upper + risk.tolerance for one in references])[:, None]
    carry = np.array([one.carry for one in references])[:, None]
    left = excess - season
    adjusted = left.copy()
    adjusted[:, 1:] -= carry * (left[:, :-1] - allowed)
    low, high, mean = (
        np.array([getattr(bet(risk, one), name) for one in references]) for name in ("low", "high", "mean")
    )
    x = (np.clip(adjusted, low[:, None], high[:, None]) - low[:, None]) / (high - low)[:, None]
    evidence, found = np.zeros((len(STAKES), len(x))), np.zeros(len(x))
    for column in x.T:
        evidence = (1 + np.array(STAKES)[:, None] * (column - mean) / mean) * (evidence + 1)
        alarmed = evidence.mean(axis=0) >= risk.threshold
        found += alarmed
        evidence[:, alarmed] = 0
    return found


@pytest.mark.parametrize(("carry", "season"), [(0.0, 0.0), (0.6, 0.0), (0.8, 0.0), (0.0, 0.05), (0.5, 0.05)])
def test_false_pages_stay_within_the_budget_where_blocks_depend_on_each_other(carry, season):
    """At the edge of what is allowed, where every path is as bad as it may be; three standard errors of the simulation and a quarter
    for what eight weeks do not tell of the carry.
    """
    paths, steps, risk = 80, round(365.25 * YEARS), Risk(false_pages_per_year=1.0)
    rng = np.random.default_rng([round(10 * carry), round(100 * season)])
    x = autoregression(rng, paths, REFERENCE_DAYS + steps, carry) + season * np.resize(WEEK, REFERENCE_DAYS + steps)
    learnt = [reference_of(row[:REFERENCE_DAYS].tolist(), starts=days(REFERENCE_DAYS)) for row in x]
    edge = np.array([one.upper + risk.tolerance for one in learnt])[:, None]
    counted = pages(x[:, REFERENCE_DAYS:] + edge, learnt, risk)
    error = counted.std() / math.sqrt(paths)
    assert counted.mean() <= 1.25 * YEARS + 3 * error
    if carry >= 0.6:
        naive = [
            Reference(float(row.mean()), one.upper, float(row.std(ddof=1)), len(row))
            for row, one in zip(x[:, :REFERENCE_DAYS], learnt, strict=True)
        ]
        assert pages(x[:, REFERENCE_DAYS:] + edge, naive, risk).mean() > 1.5 * YEARS


def test_the_monitor_is_what_the_simulation_simulates():
    rng = np.random.default_rng(8)
    x = autoregression(rng, 1, 120, 0.7)[0] + 0.1 * np.resize(WEEK, 120)
    learnt = reference_of(x[:56].tolist(), starts=days(56))
    assert learnt.season
    assert learnt.carry > 0.3
    risk, state, found = Risk(baseline="none", false_pages_per_year=100, min_rows=10), MonitorState(), 0
    for place in range(56, 120):
        observed = observe(risk, learnt, state, block(place, x[place] + 0.05))
        state, found = observed.state, found + (observed.harm is not None)
    assert found == pages(x[None, 56:] + 0.05, [learnt], risk)[0] > 0


def test_a_season_is_learnt_where_there_is_one():
    rng = np.random.default_rng(1)
    x = rng.normal(0, 0.02, 56) + 0.05 * np.resize(WEEK, 56)
    found = dependence_of(x.tolist(), days(56))
    assert of_season(found.season, days(7), "1d") == pytest.approx(0.05 * WEEK, abs=0.025)
    assert sum(found.season) == pytest.approx(0, abs=1e-12)
    assert dependence_of(x.tolist()).season == ()
    assert dependence_of(x[:20].tolist(), days(20)).season == ()
    assert (
        places_in_cycle("1d"),
        places_in_cycle("1h"),
        places_in_cycle("6h"),
        places_in_cycle("1w"),
        places_in_cycle("10s"),
    ) == (7, 24, 4, 0, 0)


def test_chance_is_seldom_taken_for_a_dependence():
    rng = np.random.default_rng(2)
    found = [dependence_of(rng.normal(size=56).tolist(), days(56)) for _ in range(300)]
    assert sum(bool(one.season) for one in found) <= 12
    assert sum(one.carry > 0 for one in found) <= 24
    assert dependence_of([0.1] * 30, days(30)) == Dependence()


def test_what_is_carried_over_is_about_what_it_was():
    rng = np.random.default_rng(3)
    found = [dependence_of(row.tolist()).carry for row in autoregression(rng, 100, 60, 0.6)]
    assert np.mean(found) == pytest.approx(0.6, abs=0.06)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30))
def test_the_autocorrelation_is_that_of_neighbours(x):
    figures = np.array(x)
    got = autocorrelation(figures, beyond=0.0)
    assert 0 <= got <= 0.9
    centred = figures - figures.mean()
    plain = sum(a * b for a, b in zip(centred[1:], centred[:-1], strict=True)) / max(
        sum(a * a for a in centred), 1e-300
    )
    if 0 < plain < 0.9 and np.ptp(figures) > 0:
        assert got == pytest.approx(plain)
