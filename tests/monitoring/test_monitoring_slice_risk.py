"""Slices watched together: found soon, named by e-BH, and their false pages within one stated budget, by simulation."""

from dataclasses import replace

import numpy as np
import pytest

from loopline.evidence import e_sr
from loopline.monitoring import slice_risk
from loopline.monitoring.allotment import with_slices
from loopline.monitoring.risk import Bet, Risk, bet, reference_of
from loopline.monitoring.slice_risk import SliceBlocks, watch_slices

BLOCKS, REFERENCE, ROWS = 200, 60, 400.0
RISK = Risk("log_loss", tolerance=0.01, block="1d", false_pages_per_year=1)


def slices_of(rng, names, harmed="", since=BLOCKS, rise=0.0):
    """Ten slices of equal size; all share the luck of the day, which is far larger than any slice's own."""
    day = rng.normal(0, 0.2, BLOCKS)
    parts = {}
    for name in names:
        mean = 0.4 + day + rng.normal(0, 0.4 / np.sqrt(ROWS), BLOCKS)
        mean[since:] += rise * (name == harmed)
        parts[name] = SliceBlocks(np.full(BLOCKS, ROWS), mean * ROWS)
    whole = SliceBlocks(sum(one.rows for one in parts.values()), sum(one.loss for one in parts.values()))
    return parts, whole


def test_a_slice_is_found_that_moves_the_whole_less_than_a_day_does():
    parts, whole = slices_of(np.random.default_rng(0), "abcdefghij", "d", 120, 0.15)
    found = watch_slices(parts, whole, RISK, REFERENCE, 0.5)
    assert [one.slice for one in found] == ["d"]
    assert 120 <= found[0].alarms[0] <= 150
    assert abs(found[0].episode.first - 120) <= 2
    assert abs(found[0].rise - 0.15) < 4 * found[0].error
    assert found[0].rows_share == 0.1


def edge_of(rng, harmed, *, rise=0.0, carry=0.0, luck=0.2):
    """Sixty slices of an eighth of the rows, and the rows of none of them; `harmed` slices lose `rise` more after the reference.

    Of what a slice lies off one day the next keeps `carry`.
    """
    day, parts, part = rng.normal(0, luck, BLOCKS), {}, 150.0
    for number in range(60):
        off = rng.normal(0, 1, BLOCKS)
        for place in range(1, BLOCKS):
            off[place] = carry * off[place - 1] + np.sqrt(1 - carry**2) * off[place]
        mean = 0.4 + day + 0.04 * off
        mean[REFERENCE:] += rise * (number < harmed)
        parts[str(number)] = SliceBlocks(np.full(BLOCKS, part), mean * part)
    rest = 1200 * (0.4 + day + rng.normal(0, 0.004, BLOCKS))
    return parts, SliceBlocks(np.full(BLOCKS, 1350.0), parts["0"].loss + rest)


def pages_of(found):
    """The blocks at whose end something was named: an alarm of several slices is one."""
    return {place for one in found for place in one.alarms}


@pytest.mark.parametrize("carry", [pytest.param(0.0, marks=pytest.mark.heavy), 0.6])
def test_false_pages_of_all_slices_stay_within_their_share_of_the_budget(carry):
    """At a budget of twenty a year, each slice as bad as just tolerated, and days that follow from the day before."""
    pages, years, budget = 0, 0.0, 20.0
    for seed in range(8):
        parts, whole = edge_of(np.random.default_rng([7, seed]), 60, rise=RISK.tolerance, carry=carry)
        pages += len(pages_of(watch_slices(parts, whole, RISK, REFERENCE, budget)))
        years += (BLOCKS - REFERENCE) / 365.25
    assert pages <= budget * years


def test_what_is_named_is_what_e_bh_names_and_alarms_take_what_they_need():
    """With a bet at the very edge of its null the sum of all detectors grows as it may, and alarms come as often as that allows, no more."""
    rate, blocks, pages = 0.05, 400, []
    for seed in range(30):
        rng = np.random.default_rng([5, seed])
        told = {str(k): slice_risk._Gathered(rng.normal(0, 1, blocks), *[np.arange(blocks)] * 2, 0) for k in range(6)}
        fair = slice_risk._Baseline(0.0, 1.0, 99, 0.0, 0.0, Bet(-4.0, 8.0, 1 / 3))
        told = {name: replace(one, excess=np.append(0.0, one.excess), reference=1) for name, one in told.items()}
        told = {
            name: replace(one, first=np.arange(-1, blocks), last=np.arange(-1, blocks)) for name, one in told.items()
        }
        alarms = slice_risk._alarms(told, dict.fromkeys(told, fair), blocks, rate)
        pages.append(len({place for places in alarms.values() for place in places}))
    assert np.mean(pages) <= rate * blocks + 2 * np.std(pages) / np.sqrt(len(pages))
    assert np.mean(pages) > 0.3 * rate * blocks


def test_slices_that_are_harmed_together_are_found_sooner_than_one_alone():
    delays = {}
    for harmed in (1, 12):
        first = []
        for seed in range(6):
            parts, whole = edge_of(np.random.default_rng([9, seed]), harmed, rise=0.05)
            found = watch_slices(parts, whole, RISK, REFERENCE, 0.5)
            first.append(min(min(one.alarms) for one in found) - REFERENCE if found else BLOCKS)
        delays[harmed] = np.mean(first)
    assert delays[12] < 0.8 * delays[1] < 30


def test_rows_and_slices_together_page_falsely_no_more_than_was_stated():
    """One budget: the risk of all rows has its part of it, all slices the other; a null of every shape, watched for years."""
    stated, pages, years = 12.0, 0, 0.0
    of_all, of_slices = with_slices(stated)
    risk = Risk("log_loss", tolerance=0.01, false_pages_per_year=of_all, baseline="none", min_rows=100)
    assert of_all + of_slices == stated
    for seed, (carry, luck) in enumerate([(0.0, 0.02), (0.0, 0.05), (0.3, 0.05), (0.6, 0.02)] * 2):
        rng = np.random.default_rng([11, seed])
        parts, whole = edge_of(rng, 0, carry=carry, luck=luck)
        pages += len(pages_of(watch_slices(parts, whole, risk, REFERENCE, of_slices)))
        means = whole.loss / whole.rows
        reference = reference_of(means[:REFERENCE].tolist())
        terms, process = bet(risk, reference), e_sr.ESR()
        for mean in means[REFERENCE:]:
            process, alarm = e_sr.step(process, terms.observation(float(mean)), terms.mean, risk.threshold)
            pages += alarm
        years += (BLOCKS - REFERENCE) / 365.25
    assert pages <= stated * years


def test_too_small_a_slice_is_not_watched():
    parts, whole = slices_of(np.random.default_rng(1), "ab", "a", 120, 2.0)
    tiny = {"a": SliceBlocks(np.full(BLOCKS, 0.5), parts["a"].loss / ROWS * 0.5), "b": parts["b"]}
    assert [one.slice for one in watch_slices(tiny, whole, RISK, REFERENCE, 0.5)] == []
