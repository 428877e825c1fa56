"""Prediction-powered risk: what its blocks are by a plain reading, and what its monitor promises, by simulation."""

import math
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evaluation.estimation.powered import trust_of
from loopline.evaluation.kind import BINARY, Output
from loopline.evaluation.losses import named
from loopline.monitoring.allotment import spent_by
from loopline.monitoring.block import cut
from loopline.monitoring.kinds import Powered, read_watched
from loopline.monitoring.powered import Figures, drawn, figures_of, held_to, powered_blocks, sample_of, sampled
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.state import MonitorState, observe
from loopline.monitoring.watch import Monitor

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
SHARES = st.floats(0.02, 1)
LOSS = named("zero_one", BINARY)
JUDGED = Powered(tolerance=0.03, judge="verdicts")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1), SHARES, st.booleans()), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_over_all_samples_a_row_stands_for_its_loss_and_never_for_more(rows, trust, guess):
    """The mean over which labels are asked for is the loss; it is less where a label does not come or is asked for too seldom."""
    least, above, p, comes = (np.array(column) for column in zip(*rows, strict=True))
    loss, floor, mean = least + above, 0.1, np.zeros(len(rows))
    for chosen in product([False, True], repeat=len(rows)):
        asked = np.array(chosen)
        figures = Figures(np.where(comes, loss, np.nan), least + guess, least)
        one = sample_of(np.arange(len(rows)), figures, asked, p, floor)
        mean += float(np.prod(np.where(asked, p, 1 - p))) * one.rows(slice(0, len(rows)), trust)
    exact = comes & (p >= floor)
    assert mean[exact] == pytest.approx(loss[exact], abs=1e-9)
    assert (mean <= loss + 1e-9).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_judge_is_trusted_as_far_as_by_the_rows_one_by_one(seed, worth):
    rng = np.random.default_rng(seed)
    x, p = rng.beta(1, 3, 300), rng.uniform(0.05, 0.6, 300)
    f = worth * x + (1 - worth) * rng.random(300)
    asked = rng.random(300) < p
    one = sample_of(np.arange(300), Figures(x, f, np.zeros(300)), asked, p, 0.01)
    found = one.learnt(slice(50, 250))
    inside = slice(50, 250)
    wanted = trust_of(f[inside], np.where(asked, x, np.nan)[inside], p[inside])
    assert found.trust == pytest.approx(wanted, abs=1e-9)
    weights = (asked / p)[inside]
    square = float(np.average(np.square(x - found.trust * f)[inside], weights=weights))
    assert found.missed == pytest.approx(square * (1 + 2 / math.sqrt(asked[inside].sum())))


def test_figures_are_losses_above_a_constant_where_the_risk_is():
    rng = np.random.default_rng(2)
    outputs, labels, judged = rng.random(50), (rng.random(50) < 0.3).astype(float), rng.random(50)
    labels[:10] = np.nan
    loss = named("log_loss", BINARY)
    one = figures_of(loss, outputs, labels, judged, "label", 0.3)
    ways = [loss.rows(outputs, np.full(50, y)) - loss.rows(np.full(50, 0.3), np.full(50, y)) for y in (0.0, 1.0)]
    assert one.expected == pytest.approx((1 - judged) * ways[0] + judged * ways[1])
    assert one.least == pytest.approx(np.minimum(*ways))
    assert one.shown[10:] == pytest.approx(np.where(labels[10:] == 1, ways[1][10:], ways[0][10:]))
    assert np.isnan(one.shown[:10]).all()
    many = figures_of(
        named("brier", Output("multiclass", ("a", "b"))), np.eye(2)[[0, 1]], np.array([0.0, 0.0]), None, "label", None
    )
    assert many.expected.tolist() == [0.0, 0.0]  # sure of itself
    assert many.shown.tolist() == [0.0, 1.0]
    numbers = figures_of(
        named("squared_error", Output("regression")),
        np.array([1.0, 2.0]),
        np.array([1.0, np.nan]),
        np.array([3.0, 2.5]),
        "label",
        None,
    )
    assert numbers.expected.tolist() == [4.0, 0.25]


def world(rng, days, each, share, *, harm=0.0, since=0, luck=0.02, judge=0.95, weighted=False):
    """A model that says yes to every row and is wrong on a fifth of them, with a luck of the day; a judge who is right so often."""
    n, day = days * each, np.repeat(np.arange(days), each)
    hard = rng.beta(1, 4, n)
    wrong = rng.random(n) < np.clip(hard + rng.normal(0, luck, days)[day] + np.where(day >= since, harm, 0), 0, 1)
    p = np.clip(share * (0.4 + 3 * hard), 0.01, 1) if weighted else np.full(n, share)
    asked = rng.random(n) < p
    micros = (int(START.timestamp()) * 1_000_000 + (np.arange(n) + 0.5) * (86_400_000_000 / each)).astype(np.int64)
    return pl.DataFrame(
        {
            "at": pl.Series(micros).cast(pl.Datetime("us", "UTC")),
            "_key": np.arange(n).astype(str),
            "score": np.full(n, 0.9),
            "label": pl.Series(np.where(asked, 1.0 - wrong, np.nan)).fill_nan(None),
            "judged": 1.0 - np.where(rng.random(n) < judge, wrong, ~wrong),
            "propensity": p,
            "asked": asked,
        }
    )


def promise(rng, each):
    rows = world(rng, 20, each, 1.0)
    return held_to(LOSS, rows["score"].to_numpy(), rows["label"].to_numpy(), np.repeat(np.arange(20), each), None, 50)


def alarms_of(risk, reference, blocks):
    state, found = MonitorState(), []
    for place, block in enumerate(blocks):
        seen = observe(risk, reference, state, block)
        state = seen.state
        found += [place] if seen.harm else []
    return found


def blocks_of(rows, risk, powered=JUDGED):
    found = sampled(rows, powered, "m", risk, BINARY, None)
    return powered_blocks(rows, found, risk, START, START + 10_000 * DAY, usual=1.0)


@pytest.mark.parametrize(
    ("judge", "weighted"),
    [
        (0.95, True),
        pytest.param(0.95, False, marks=pytest.mark.heavy),
        pytest.param(0.5, True, marks=pytest.mark.heavy),
    ],
)
def test_false_pages_stay_within_the_budget_at_the_edge_of_what_is_allowed(judge, weighted):
    """Fifteen of 150 rows of a day are asked for; days have a luck of their own; every path is as bad as just allowed."""
    paths, days = 20, 120
    risk = Risk("zero_one", tolerance=0.03, false_pages_per_year=18, baseline="none", min_rows=50)
    pages = []
    for path in range(paths):
        rng = np.random.default_rng([path, weighted, int(100 * judge)])
        reference = promise(rng, 150)
        edge = reference.upper + risk.tolerance - 0.2
        rows = world(rng, days, 150, 0.1, harm=edge, judge=judge, weighted=weighted)
        pages.append(len(alarms_of(risk, reference, blocks_of(rows, risk))))
    assert np.mean(pages) <= days / risk.threshold + 2 * np.std(pages) / math.sqrt(paths)
    assert np.mean(pages) > 0.5 * days / risk.threshold  # it does bet


def test_harm_is_found_sooner_than_by_the_same_labels_alone():
    """Ten labels a day, a judge who is right of nineteen rows in twenty; a tenth more of the rows go wrong after thirty days."""
    paths, warm, each = 12, 30, 200
    risk = Risk("zero_one", tolerance=0.03, baseline="none", min_rows=50)
    alone = Risk("zero_one", tolerance=0.03, baseline="none", min_rows=3)
    delays = []
    for path in range(paths):
        rng = np.random.default_rng([9, path])
        reference = promise(rng, each)
        rows = world(rng, warm + 90, each, 0.05, harm=0.1, since=warm)
        spread = math.hypot(reference.spread, 0.4 / math.sqrt(0.05 * each))  # as ten labels of such a model vary
        by_labels = Reference(reference.mean, reference.upper, spread, reference.blocks)
        both = (
            alarms_of(risk, reference, blocks_of(rows, risk)),
            alarms_of(alone, by_labels, cut(rows.drop("judged", "propensity", "asked"), alone)),
        )
        delays.append([min((one - warm for one in found if one >= warm), default=90) for found in both])
    powered, labels = np.array(delays).T
    assert powered.mean() < 0.8 * labels.mean()
    assert (powered < labels).sum() >= 0.7 * paths


def test_what_would_be_seen_counts_the_chance_of_asking():
    """The smallest rise that a budget tells of is larger where fewer labels are asked for: by as much as blocks then vary."""
    seen = {}
    for share in (0.05, 0.5):
        rng = np.random.default_rng(6)
        risk, reference = Risk("zero_one", tolerance=0.03, baseline="none", min_rows=50), promise(rng, 200)
        state = MonitorState()
        for block in blocks_of(world(rng, 40, 200, share), risk):
            state = observe(risk, reference, state, block).state
        assert state.spread == pytest.approx(block.spread)
        monitor = Monitor("p", "m", "powered", risk, reference, state, START, START)
        seen[share] = spent_by(monitor, 0, ("30d",)).sees[0].rise
    assert seen[0.05] > 1.15 * seen[0.5]


def test_who_is_drawn_follows_from_the_key_alone():
    keys = pl.Series([f"k{place}" for place in range(5000)])
    few, more = drawn("m", keys, 0.05), drawn("m", keys, 0.2)
    assert abs(few.mean() - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 5000)
    assert (more | ~few).all()
    assert drawn("m", keys.reverse(), 0.05).tolist() == few.tolist()[::-1]
    assert drawn("other", keys, 0.05).tolist() != few.tolist()


def test_what_does_not_say_how_probably_a_label_is_asked_for_is_refused():
    for wrong in (
        lambda: Powered(tolerance=0.1),
        lambda: Powered(tolerance=0.1, share=0.001),
        lambda: Powered(tolerance=0.1, share=1.5),
        lambda: Powered(tolerance=0.1, judge="verdicts", floor=1e-6),
        lambda: Powered(tolerance=0.1, judge="verdicts", says="nothing"),
        lambda: read_watched([Risk("squared_error"), Powered(0.1, share=0.5)], Output("regression"), []),
        lambda: read_watched([Risk("ndcg_loss"), Powered(0.1, judge="verdicts")], Output("ranking"), []),
    ):
        with pytest.raises(InvalidInput):
            wrong()
    with pytest.raises(InvalidInput, match="how probably"):
        sampled(
            world(np.random.default_rng(1), 1, 10, 0.5).drop("propensity"), JUDGED, "m", Risk("zero_one"), BINARY, None
        )
