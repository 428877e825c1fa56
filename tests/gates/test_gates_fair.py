"""The gate on groups: what is shown, what is not, and how often it is wrong."""

import numpy as np
import polars as pl
import pytest

from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.kind import Output
from loopline.gates.check import Comparison, examine_all
from loopline.gates.chosen import chosen
from loopline.gates.fair import fair


def compared(gap, *, seed=0, rows=4000, share=0.5, kind="binary"):
    """Women's positives are missed by `gap` more often than men's 20 %."""
    rng = np.random.default_rng(seed)
    sex = np.where(rng.random(rows) < share, "F", "M")
    label = (rng.random(rows) < 0.5).astype(float)
    missed = rng.random(rows) < 0.2 + gap * (sex == "F")
    positive = np.where(label == 1, ~missed, rng.random(rows) < 0.1)
    frame = pl.DataFrame(
        {
            "label": label,
            "candidate": np.where(positive, 0.9, 0.1),
            "champion": np.full(rows, 0.5),
            "candidate_decision": np.where(positive, "positive", "negative"),
            "candidate_cost": np.abs(label - positive),
            "sex": sex,
            "block": np.arange(rows) // 100,
        }
    )
    return Comparison(frame, "the candidate", "version 1", Output(kind))


GATE = {"by": "sex", "at_most": 0.05}


def test_a_difference_that_is_shown_is_refused():
    [verdict] = examine_all([fair("false_negative_rate", **GATE)], compared(0.15))
    assert not verdict.passed
    assert verdict.check == "fair false_negative_rate by sex"
    assert "is shown to differ by more than 0.05: sex=F lies +0.1" in verdict.sentence
    gap = verdict.figures["gaps"][0]
    frame = compared(0.15).rows.filter(pl.col("label") == 1)
    rates = frame.group_by("sex").agg(missed=(pl.col("candidate_decision") == "negative").mean())
    expected = dict(rates.iter_rows())
    assert gap["difference"] == pytest.approx(expected["F"] - expected["M"])
    assert gap["lower"] > 0.05


def test_strict_asks_for_proof_that_it_is_small():
    unclear = compared(0.03, rows=1500)
    assert examine_all([fair("false_negative_rate", **GATE)], unclear)[0].passed
    assert not examine_all([fair("false_negative_rate", **GATE, strict=True)], unclear)[0].passed
    clear = compared(0.0, rows=40_000)
    assert examine_all([fair("false_negative_rate", **GATE, strict=True)], clear)[0].passed


def test_too_few_rows_are_named_and_not_judged():
    rare = compared(0.8, rows=2000, share=0.01)
    [verdict] = examine_all([fair("false_negative_rate", **GATE)], rare)
    assert verdict.passed
    assert verdict.figures["not_judged"] == ["sex=F"]
    assert "sex=F" in verdict.sentence
    assert not examine_all([fair("false_negative_rate", **GATE, strict=True)], rare)[0].passed


def test_an_honest_candidate_at_the_bound_is_refused_about_as_seldom_as_said():
    gate = fair("false_negative_rate", **GATE, confidence=0.9)
    refused = sum(not gate.examine(compared(0.05, seed=seed, rows=2000)).passed for seed in range(150))
    assert 4 <= refused <= 27


def test_other_kinds_have_their_own_measures():
    numbers = compared(0.0, kind="regression")
    assert fair("absolute_error", **GATE).examine(numbers).passed
    with pytest.raises(InvalidInput, match=r"gate\.other_measure"):
        fair("false_negative_rate", **GATE).examine(numbers)


def test_what_makes_no_gate_is_refused():
    with pytest.raises(NotFound, match=r"bias\.unknown_measure"):
        fair("niceness", **GATE)
    for wrong in ({"at_most": -0.1}, {"at_most": 0.1, "min_rows": 0}):
        with pytest.raises(InvalidInput, match=r"gate\.fair_terms"):
            fair("selection_rate", by="sex", **wrong)
    with pytest.raises(InvalidInput, match=r"gate\.confidence"):
        fair("selection_rate", **GATE, confidence=0.3)
    with pytest.raises(InvalidInput, match=r"gate\.unknown_group"):
        fair("selection_rate", by="age", at_most=0.1).examine(compared(0.0))


def test_an_abstention_is_neither():
    assert chosen(["positive", "negative", "abstain", ""]) == pytest.approx([1, 0, np.nan, np.nan], nan_ok=True)
