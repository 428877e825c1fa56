"""One budget for a project: all monitors of all models together, by simulation."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from loopline.monitoring.allotment import allot, scaled, with_slices
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Fairness, Powered, Rate, Regret
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.state import MonitorState, observe

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
HARM = Risk("brier", tolerance=0.02, baseline="none", min_rows=50)
DECLARED = (
    HARM,
    Powered(0.03, share=0.1),
    Regret(0.02, min_rows=50),
    Rate("degraded", at_most=0.05),
    Fairness("by", 0.05, block="1d"),
)


def bets_of(watched):
    """The risks that a kind bets on, with the reference of each, its mean at the edge of what is allowed, and how its blocks vary."""
    known = Reference(0.2, 0.205, 0.02, 30)
    if isinstance(watched, Powered):
        return [(watched.risk(HARM), known, 0.05)]
    if isinstance(watched, Regret):
        return [(watched.risk, Reference(0.0, 0.0, 0.0, 0), 0.03)]
    if isinstance(watched, Rate):
        return [(watched.risk, Reference(0.0, 0.0, 0.0, 0, bounds=(0.0, 1.0)), 0.0)]
    if isinstance(watched, Fairness):
        return [(watched.risk(3), Reference(0.0, 0.01, 0.03, 30), 0.0)] * 3
    return [(watched, known, 0.0)]


def block_of(rng, place, risk, reference, chance):
    edge = reference.upper + risk.tolerance
    spread = math.hypot(reference.spread, chance)
    loss = rng.binomial(200, edge) / 200 if reference.bounds else rng.normal(edge, spread)
    given = {"start": START + place * DAY, "end": START + (place + 1) * DAY, "predictions": 200, "labelled": 200}
    sums = {
        "positives": 0.0,
        "expected": 0.0,
        "loss": 200 * float(loss),
        "baseline": 0.0,
        "chance": (200 * chance) ** 2,
    }
    return BlockSummary(**given, **sums)


def test_all_monitors_of_all_models_page_falsely_no_more_than_was_stated():
    """Two models with five kinds of monitor each, seven e-processes, at the edge of their nulls all at once; a budget of twelve a year."""
    stated, paths, blocks = 12.0, 8, 365
    factor = allot(stated, [one.false_pages_per_year for one in DECLARED] * 2)
    shared = [scaled(one, factor) for one in DECLARED]
    assert 2 * sum(one.false_pages_per_year for one in shared) == pytest.approx(stated)
    pages = []
    for path in range(paths):
        rng, count = np.random.default_rng([8, path]), 0
        for risk, reference, chance in [bet for one in shared for bet in bets_of(one)] * 2:
            state = MonitorState()
            for place in range(blocks):
                seen = observe(risk, reference, state, block_of(rng, place, risk, reference, chance))
                state, count = seen.state, count + (seen.harm is not None)
        pages.append(count)
    assert np.mean(pages) <= stated + 2 * np.std(pages) / math.sqrt(paths)
    assert np.mean(pages) > 0.3 * stated  # the budget is used


def test_rows_and_slices_share_what_is_stated_for_both():
    assert with_slices(3.0) == (1.5, 1.5)
    assert sum(with_slices(0.7)) == pytest.approx(0.7)
