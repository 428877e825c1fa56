"""Groups that share a budget: named together by e-BH, once, and within the budget."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from loopline.evidence.e_sr import ESR
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Fairness
from loopline.monitoring.risk import Reference
from loopline.monitoring.state import MonitorState
from loopline.monitoring.together import name_together
from loopline.monitoring.watch import advance, read_monitor, start_monitor, write_state

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
FAIR = Fairness("by", tolerance=0.02, block="1d", min_rows=50, false_pages_per_year=12)
GROUPS = "abcdef"
SCOPE = {"project": "p", "model": "m"}
TOLD = {name: (lambda found: f"{found.blocks_since_onset} blocks, {found.excess_since_onset:.3f}") for name in GROUPS}


def begin(tx):
    for name in GROUPS:
        reference = Reference(0.0, 0.01, 0.03, 30)
        start_monitor(
            tx, **SCOPE, name=name, spec=FAIR.risk(len(GROUPS)), reference=reference, watermark=START, at=START
        )


def see(tx, rng, place, means):
    """One block of each group; gives all alarms of it."""
    raised, at = [], START + (place + 1) * DAY
    for name in GROUPS:
        loss = 100 * float(rng.normal(means.get(name, 0.0), 0.03))
        given = {"positives": 0.0, "expected": 0.0, "loss": loss, "baseline": 0.0}
        block = BlockSummary(start=at - DAY, end=at, predictions=100, labelled=100, **given)
        raised += advance(tx, **SCOPE, name=name, blocks=[block], at=at, kind="unfair")
    return raised, name_together(tx, **SCOPE, told=TOLD, at=at, kind="unfair", page=True)


def of(heights):
    return ESR((math.log1p(heights),) * 5)


def test_groups_are_named_together_where_none_has_enough_alone_and_once(database):
    with database.transaction() as tx:
        begin(tx)
        see(tx, np.random.default_rng(0), 0, {})
        enough = FAIR.risk(len(GROUPS)).threshold
        for name, share in (("b", 0.52), ("e", 0.9), ("f", 0.3)):
            write_state(tx, read_monitor(tx, "p", "m", name), MonitorState(process=of(share * enough), blocks=1))
        raised = name_together(tx, **SCOPE, told=TOLD, at=START + DAY, kind="unfair", page=True)
        assert [one.monitor for one in raised] == ["b", "e"]
        assert [one.block_end for one in raised] == [START + DAY] * 2
        assert raised[0].evidence["sentence"].startswith("1 blocks")
        assert name_together(tx, **SCOPE, told=TOLD, at=START + DAY, kind="unfair", page=True) == []
        states = {name: read_monitor(tx, "p", "m", name).state for name in GROUPS}
        assert (states["b"].alarms, states["b"].process, states["f"].alarms) == (1, ESR(), 0)
        assert states["f"].process.log_m == pytest.approx(math.log(0.3 * enough))
        assert len(list_alarms(tx, "p")) == 2


@pytest.mark.heavy
def test_together_they_page_falsely_within_their_budget_and_find_what_harms_several_sooner(database):
    with database.transaction() as tx:
        begin(tx)
        rng, pages, blocks = np.random.default_rng(1), 0, 365
        for place in range(blocks):
            alone, together = see(tx, rng, place, dict.fromkeys(GROUPS, 0.03))  # as bad as just allowed
            pages += bool(alone) + bool(together)
        assert pages <= FAIR.false_pages_per_year + 3 * math.sqrt(FAIR.false_pages_per_year)
        before = blocks
        for place in range(blocks, blocks + 60):
            alone, together = see(tx, rng, place, dict.fromkeys(GROUPS, 0.07))
            if alone or together:
                before = place - blocks
                break
        assert together  # several at once, before one alone had enough
        assert before < 20
