"""Further monitors: what each counts, against a plain reading of the rows, and what each promises, by simulation."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import named
from loopline.evidence.e_sr import STAKES
from loopline.monitoring.allotment import allot, budget_of, scaled
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Estimated, Fairness, Rate, Regret, key_of, read_watched
from loopline.monitoring.parts import counts_of, group_blocks, paired_blocks, rate_blocks
from loopline.monitoring.risk import Reference, Risk, bet, reference_of
from loopline.monitoring.state import MonitorState, observe
from loopline.monitoring.watch import advance, list_monitors, start_monitor

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CODES = ["out_of_range:way", "out_of_range:age", "feature_missing:way"]
THREE = Output("multiclass", ("a", "b", "c"))


def predictions(seed, rows=400, days=4):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "at": pl.Series([START + float(t) * DAY for t in rng.uniform(0, days, rows)]).cast(
                pl.Datetime("us", "UTC")
            ),
            "score": [None if rng.random() < 0.1 else float(p) for p in rng.random(rows)],
            "decision": rng.choice(["positive", "abstain"], rows),
            "degraded": [[code for code in CODES if rng.random() < 0.1] for _ in range(rows)],
            "model_version": rng.integers(0, 3, rows),
            "latency_ms": rng.exponential(20, rows),
        },
        schema_overrides={"degraded": pl.List(pl.String)},
    )


PLAIN = {
    "degraded": lambda row: bool(row["degraded"]),
    "out_of_range": lambda row: any(code.split(":")[0] == "out_of_range" for code in row["degraded"]),
    "out_of_range:way": lambda row: "out_of_range:way" in row["degraded"],
    "fallback": lambda row: row["model_version"] == 0,
    "unanswered": lambda row: row["score"] is None,
    "abstained": lambda row: row["decision"] == "abstain",
}


@pytest.mark.parametrize("of", PLAIN)
def test_a_rate_is_a_share_of_all_predictions_of_the_block(of):
    rows, rate = predictions(3), Rate(of, at_most=0.05, min_rows=10)
    blocks = rate_blocks(rows, rate)
    for block in blocks:
        inside = [row for row in rows.iter_rows(named=True) if block.start < row["at"] <= block.end]
        assert (block.labelled, block.predictions) == (len(inside), len(inside))
        assert block.loss == sum(PLAIN[of](row) for row in inside)
        assert block.excess(rate.risk) == pytest.approx(block.loss / len(inside))
    assert sum(block.labelled for block in blocks) == rows.height


def test_a_latency_is_a_share_of_slow_ones_or_a_mean_with_a_bound():
    rows = predictions(4)
    slow, mean = Rate("latency_ms", at_most=0.1, above=50), Rate("latency_ms", at_most=30, highest=60)
    took = rows["latency_ms"].to_numpy()
    assert counts_of(rows, slow).tolist() == (took > 50).tolist()
    assert sum(block.loss for block in rate_blocks(rows, mean)) == pytest.approx(np.minimum(took, 60).sum())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Rate("degraded", at_most=0.0),
        lambda: Rate("degraded", at_most=1.0),
        lambda: Rate("latency_ms", at_most=0.1),
        lambda: Rate("latency_ms", at_most=0.1, above=5, highest=9),
        lambda: Rate("degraded", at_most=0.1, above=5),
        lambda: Regret(0.01, over="everybody"),
        lambda: Fairness("way", tolerance=0),
        lambda: Estimated(tolerance=-1),
    ],
)
def test_what_declares_nothing_to_watch_is_refused(wrong):
    with pytest.raises(InvalidInput):
        wrong()


def rate_pages(x, rate, blocks):
    """Another implementation, in plain numbers: false pages of each path (paths, blocks) of block means in [0, rate.most]."""
    share, m = x / rate.most, rate.at_most / rate.most
    evidence, pages = np.zeros((len(STAKES), len(x))), np.zeros(len(x))
    for column in share.T[:blocks]:
        evidence = (1 + np.array(STAKES)[:, None] * (column - m) / m) * (evidence + 1)
        alarmed = evidence.mean(axis=0) >= rate.risk.threshold
        pages += alarmed
        evidence[:, alarmed] = 0
    return pages


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(
    "rate",
    [
        Rate("degraded", at_most=0.02, false_pages_per_year=6),
        Rate("latency_ms", at_most=40, highest=500, false_pages_per_year=6),
    ],
)
def test_false_pages_of_rates_stay_within_the_budget_without_any_reference(rate, clustered):
    """Rows of a block that share their luck make its mean swing, and the promise holds all the same: it needs no law."""
    paths, years, rows = 100, 6, 60
    blocks = round(365.25 * years)
    rng = np.random.default_rng([int(clustered), int(rate.most)])
    m = rate.at_most / rate.most
    own = rng.beta(m * 8, (1 - m) * 8, (paths, blocks)) if clustered else np.full((paths, blocks), m)
    x = rng.binomial(rows, own) / rows * rate.most
    counted = rate_pages(x, rate, blocks)
    assert counted.mean() <= 6 * years + 3 * counted.std() / math.sqrt(paths)
    assert counted.mean() > 0.3 * 6 * years


def test_the_monitor_of_a_rate_is_what_the_simulation_simulates():
    rate = Rate("degraded", at_most=0.02, false_pages_per_year=12, min_rows=10)
    x = np.random.default_rng(2).binomial(60, 0.05, 90) / 60
    state, found = MonitorState(), 0
    for place, share in enumerate(x):
        block = counted_block(place, 60, 60 * share)
        observed = observe(rate.risk, Reference(0.0, 0.0, 0.0, 0, bounds=(0.0, 1.0)), state, block)
        state, found = observed.state, found + (observed.harm is not None)
    assert found == rate_pages(x[None, :], rate, 90)[0] > 0


def counted_block(place, rows, loss, baseline=None):
    begin = START + place * DAY
    return BlockSummary(
        start=begin,
        end=begin + DAY,
        predictions=rows,
        labelled=rows,
        positives=0.0,
        expected=0.0,
        loss=loss,
        baseline=baseline,
    )


def outputs_of(rng, rows, output):
    if output.kind == "multiclass":
        return rng.dirichlet([1, 1, 1], rows).tolist()
    return rng.random(rows).tolist()


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 1000), st.sampled_from(["binary", "multiclass", "regression", "ranking"]))
def test_pairs_and_groups_are_those_of_a_plain_reading(seed, kind):
    rng, rows = np.random.default_rng(seed), 60
    output = THREE if kind == "multiclass" else Output(kind)
    column, loss = (
        ("outputs" if output.wide else "score"),
        {"binary": "brier", "multiclass": "log_loss", "regression": "absolute_error", "ranking": "ndcg_loss"}[kind],
    )
    label = rng.integers(0, 3 if kind in {"multiclass", "ranking"} else 2, rows).astype(float)
    day = np.sort(rng.integers(0, 3, rows))
    frame = pl.DataFrame(
        {
            "at": pl.Series([START + (int(d) + 0.5) * DAY for d in day]).cast(pl.Datetime("us", "UTC")),
            column: outputs_of(rng, rows, output),
            "other": outputs_of(rng, rows, output),
            "label": [None if rng.random() < 0.2 and kind != "ranking" else float(y) for y in label],
            "group": [f"{d}-{int(rng.integers(0, 3))}" for d in day],
            "region": rng.choice(["a", "b"], rows),
        }
    )
    judge = named(loss, output).rows
    for block in paired_blocks(frame, loss, "1d", output):
        part = frame.filter((pl.col("at") > block.start) & (pl.col("at") <= block.end))
        y = part["label"].fill_null(np.nan).to_numpy()
        pair = [judge(np.array(part[name].to_list()), y, part["group"].to_numpy()) for name in (column, "other")]
        both = ~np.isnan(pair[0])
        assert block.labelled == both.sum()
        assert (block.loss, block.baseline) == pytest.approx((pair[0][both].sum(), pair[1][both].sum()))
    for block in group_blocks(frame, "region", "a", loss, "1d", output):
        part = frame.filter((pl.col("at") > block.start) & (pl.col("at") <= block.end))
        lost = judge(
            np.array(part[column].to_list()), part["label"].fill_null(np.nan).to_numpy(), part["group"].to_numpy()
        )
        mine = (part["region"] == "a").to_numpy() & ~np.isnan(lost)
        assert block.labelled == mine.sum()
        if mine.any():
            gap = block.excess(Fairness("region", tolerance=0.1).risk())
            assert gap == pytest.approx(lost[mine].mean() - np.nanmean(lost))


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error", "ndcg_loss"])
def test_false_pages_of_regret_stay_within_the_budget(loss, clustered):
    """Two models that are equally good over all days, on the same rows; where clustered, each has good and bad days of its own."""
    paths, blocks, risk = 60, 1000, Regret(0.02, loss=loss, false_pages_per_year=4).risk
    rng = np.random.default_rng([len(loss), int(clustered)])
    law = {
        "log_loss": lambda n: rng.exponential(0.5, n),
        "squared_error": lambda n: rng.chisquare(1, n),
        "ndcg_loss": lambda n: rng.beta(1, 3, n),
    }[loss]
    days = rng.normal(0, 0.05 if clustered else 0.0, (paths, blocks + 8))
    x = law((paths, blocks + 8, 10)).mean(axis=2) - law((paths, blocks + 8, 10)).mean(axis=2) + days + risk.tolerance
    terms = [bet(risk, Reference(0.0, 0.0, reference_of(path[:8].tolist()).spread, 8)) for path in x]
    low, high, mean = (np.array([getattr(one, name) for one in terms])[:, None] for name in ("low", "high", "mean"))
    y = (np.clip(x[:, 8:], low, high) - low) / (high - low)
    evidence, pages = np.zeros((len(STAKES), paths)), np.zeros(paths)
    for column in y.T:
        evidence = (1 + np.array(STAKES)[:, None] * (column - mean[:, 0]) / mean[:, 0]) * (evidence + 1)
        alarmed = evidence.mean(axis=0) >= risk.threshold
        pages += alarmed
        evidence[:, alarmed] = 0
    allowed = blocks / risk.threshold
    assert np.mean(pages) <= 1.15 * allowed + 3 * np.std(pages) / math.sqrt(paths)
    assert np.mean(pages) > 0.3 * allowed


def test_the_first_risk_is_what_a_model_is_held_to_and_the_rest_is_watched_beside_it():
    risk, brier = Risk(), Risk("brier", tolerance=0.02)
    first, also = read_watched(
        [Rate("degraded", at_most=0.1), risk, brier, Regret(0.01), Estimated(0.02)], Output(), ["way"]
    )
    assert first == risk
    assert [key_of(one) for one in also] == ["rate:degraded", "harm:brier", "regret:previous", "estimated"]
    assert read_watched(risk, Output(), []) == (risk, ())
    for wrong, output in (
        ([Rate("degraded", at_most=0.1)], Output()),
        ([risk, Rate("degraded", at_most=0.1), Rate("degraded", at_most=0.2)], Output()),
        ([risk, Fairness("age", tolerance=0.1)], Output()),
        ([Risk(baseline="scores")], Output()),
        ([risk, Risk("squared_error")], Output()),
        ([Risk("squared_error"), Estimated(0.1)], Output("regression")),
        ([Risk("ndcg_loss"), Estimated(0.1)], Output("ranking")),
    ):
        with pytest.raises(InvalidInput):
            read_watched(wrong, output, ["way"])


def test_a_budget_is_shared_in_proportion_and_told_with_what_is_spent(database):
    risk, rate = Risk(false_pages_per_year=3.0), Rate("degraded", at_most=0.05, false_pages_per_year=1.0)
    factor = allot(2.0, [risk.false_pages_per_year, rate.false_pages_per_year])
    shared = [scaled(risk, factor), scaled(rate, factor)]
    assert [one.false_pages_per_year for one in shared] == [1.5, 0.5]
    assert allot(None, [3.0]) == 1.0
    assert scaled(Risk(), 1e6).false_pages_per_year == Risk().blocks_per_year / 2
    with pytest.raises(InvalidInput):
        allot(0.0, [1.0])
    with database.transaction() as tx:
        who = {"project": "p", "model": "m", "name": "rate:degraded"}
        start_monitor(
            tx, **who, spec=shared[1].risk, reference=Reference(0, 0, 0, 0, bounds=(0, 1)), watermark=START, at=START
        )
        raised = advance(
            tx, **who, blocks=[counted_block(day, 300, 60.0 if day > 20 else 3.0) for day in range(30)], at=START
        )
        (monitor,) = list_monitors(tx, "p")
    alarms = {("m", "rate:degraded"): len(raised)}
    told = budget_of("p", 2.0, [monitor], alarms, START + 40 * DAY)
    assert (told.false_pages_per_year, told.alarms) == (0.5, len(raised) > 0)
    assert told.expected == pytest.approx(30 / (365.25 / 0.5))
    day, week, month = (one.rise for one in told.monitors[0].sees)
    assert 0.05 < month <= week
    assert day is None or day >= week
