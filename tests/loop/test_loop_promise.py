"""What further monitors are held to from the first block on: what the first champion's held-out rows show of them."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

import loopline as ll
from loopline.evaluation.losses import named
from loopline.loop import promise
from loopline.loop.promise import FURTHER, further_promised, references_promised
from loopline.loop.regret_watch import with_spread
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Regret
from loopline.monitoring.risk import Reference, reference_of
from loopline.monitoring.state import MonitorState, observe

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
BRIER = ll.Risk("brier", tolerance=0.02, min_rows=10)
FAIR = ll.Fairness("carrier", tolerance=0.05, loss="brier", block="1d", min_rows=5)
ALSO = (BRIER, FAIR, ll.Rate("degraded", at_most=0.02), ll.Regret(tolerance=0.01))


def held_out(days=12, each=40, carriers=("fast", "slow")):
    rng = np.random.default_rng(3)
    n = days * each
    return pl.DataFrame(
        {
            "at": pl.Series([START + DAY * ((place + 0.5) / each) for place in range(n)]).cast(
                pl.Datetime("us", "UTC")
            ),
            "score": rng.random(n),
            "label": (rng.random(n) < 0.4).astype(float),
            "carrier": rng.choice(carriers, n),
        }
    )


def test_risks_and_groups_are_held_to_what_was_held_out(replayed, monkeypatch):
    lane = replace(replayed.works[0].lane, operation=replace(replayed.works[0].lane.operation, also=ALSO))
    rows = held_out()
    told = further_promised(lane, rows)
    assert set(told[FURTHER]) == {"harm:brier", "fair:brier:carrier=fast", "fair:brier:carrier=slow"}
    loss = named("brier").rows(rows["score"].to_numpy(), rows["label"].to_numpy())
    day, slow = np.repeat(np.arange(12), 40), (rows["carrier"] == "slow").to_numpy()
    rate = rows["label"].to_numpy()
    excess = [loss[day == d].mean() - rate[day == d].mean() * (1 - rate[day == d].mean()) for d in range(12)]
    above = [loss[(day == d) & slow].mean() - loss[day == d].mean() for d in range(12)]
    assert told[FURTHER]["harm:brier"]["reference"]["mean"] == pytest.approx(np.mean(excess))
    assert told[FURTHER]["fair:brier:carrier=slow"]["reference"]["mean"] == pytest.approx(np.mean(above))
    assert told[FURTHER]["fair:brier:carrier=slow"]["risk"]["false_pages_per_year"] == 0.5

    with replayed.resources.database.reading() as tx:
        version = promise.registry.get_version(tx, lane.project, lane.model, 1)
        assert references_promised(tx, lane, "harm:brier") == {}  # it was not declared when the first champion was made
        told_then = msgspec.structs.replace(version, lineage=told)
        monkeypatch.setattr(promise.registry, "get_version", lambda *_: told_then)
        assert references_promised(tx, lane, "harm:brier")["harm:brier"].mean == pytest.approx(np.mean(excess))
        assert len(references_promised(tx, lane, "fair:brier:carrier=")) == 2
        weekly = replace(lane, operation=replace(lane.operation, also=(replace_block(BRIER), FAIR)))
        assert references_promised(tx, weekly, "harm:brier") == {}  # measured otherwise


def replace_block(risk):
    return msgspec.structs.replace(risk, block="1w")


def test_groups_are_promised_all_or_none_and_too_few_rows_promise_nothing(replayed):
    lane = replace(replayed.works[0].lane, operation=replace(replayed.works[0].lane.operation, also=ALSO))
    few = held_out(days=3)
    assert further_promised(lane, few) == {}
    late = held_out().with_columns(
        pl.when(pl.int_range(pl.len()) > 400).then(pl.lit("new")).otherwise("carrier").alias("carrier")
    )
    assert set(further_promised(lane, late)[FURTHER]) == {"harm:brier"}


REGRET = Regret(0.02, false_pages_per_year=12, min_rows=100).risk


def regrets(rng, blocks, mean, spread=0.03):
    return [
        BlockSummary(
            start=START + place * DAY,
            end=START + (place + 1) * DAY,
            predictions=100,
            labelled=100,
            positives=0.0,
            expected=0.0,
            loss=100 * (0.5 + float(rng.normal(mean, spread))),
            baseline=50.0,
        )
        for place in range(blocks)
    ]


def alarms_of(blocks):
    state, found = MonitorState(), []
    for place, block in enumerate(blocks):
        seen = observe(REGRET, Reference(0.0, 0.0, 0.0, 0), state, block)
        state = seen.state
        found += [place] if seen.harm else []
    return found


def test_regret_is_bet_on_from_the_first_block_and_pages_no_more_than_is_allowed():
    """At the edge of what is tolerated, at a budget of one in thirty blocks; large regret shows within the first eight blocks."""
    paths, blocks, pages, soon = 60, 240, [], 0
    for path in range(paths):
        rng = np.random.default_rng([4, path])
        pages.append(len(alarms_of(with_spread(regrets(rng, blocks, 0.02), [], REGRET, 0.08))))
        soon += bool(alarms_of(with_spread(regrets(rng, 8, 0.4), [], REGRET, 0.08)))
    assert np.mean(pages) <= blocks / REGRET.threshold + 2 * np.std(pages) / math.sqrt(paths)
    assert np.mean(pages) > 0.5 * blocks / REGRET.threshold
    assert soon == paths


def test_the_spread_of_a_block_follows_from_those_before_it_however_they_are_cut():
    blocks = regrets(np.random.default_rng(1), 20, 0.0)
    whole = with_spread(blocks, [], REGRET, 0.5)
    parts = with_spread(blocks[:11], [], REGRET, 0.5)
    parts += with_spread(blocks[11:], [one.excess(REGRET) for one in blocks[:11]], REGRET, 0.5)
    assert parts == whole
    assert [one.spread for one in whole[:8]] == pytest.approx([0.5] * 8)
    before = [one.excess(REGRET) for one in blocks[:15]]
    assert whole[15].spread == pytest.approx(np.std(before, ddof=1) * 1.125)
    assert reference_of(before).spread == pytest.approx(np.std(before, ddof=1))
