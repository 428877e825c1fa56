"""The sentences above the comparison, and which figure is the best: whichever way a replay went."""

import math
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from loopline.app.report.headline import headline
from loopline.app.report.measure import rows
from loopline.app.report.page import report_html
from loopline.loop.compare import Comparison, PolicyResult

START, SINCE, UNTIL = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2, 12))
COUNTS = {"predictions": 2345, "labelled": 2300, "unlabelled": 45, "evaluated": 2000}
ACTS = {
    "pages": 0,
    "retrains": 8,
    "promotions": 2,
    "rollbacks": 0,
    "abstained": 0.041,
    "train_seconds": 9,
    "score_seconds": 1,
}
REST = {"project": "flights", "against_loop": None, "months": [], "days": [], "events": [], "ledger": "sha256:ab"}


def gap(mean, half, error=0.0018):
    return {"mean": mean, "lower": mean - half, "upper": mean + half, "error": error, "blocks": 300, "rows": 2000}


def result(policy, log_loss, **changed):
    losses = {"loss": log_loss, "other_loss": log_loss / 3, "cost": log_loss / 1.5}
    return PolicyResult(policy=policy, **{**losses, **COUNTS, **ACTS, **REST, **changed})


def comparison(*policies):
    return Comparison(
        "flights", "late_arrival", START, UNTIL, SINCE, "log_loss", "brier", 365.25, -0.03, [], list(policies)
    )


@pytest.fixture
def usual():
    return comparison(
        result("loop", 0.4621),
        result(
            "train_once",
            0.5031,
            against_loop={"loss": gap(0.041, 0.007), "cost": gap(0.0273, 0.004)},
            pages=2,
            retrains=1,
        ),
        result("monthly", 0.4601, against_loop={"loss": gap(-0.002, 0.003), "cost": gap(-0.0013, 0.002)}, retrains=11),
        result("never", math.nan),
    )


def test_the_headline_says_where_the_loop_is_worse(usual):
    loss, cost = headline(comparison(*usual.policies[:3]))
    assert loss == (
        "The loop's log loss is 0.4621: 0.0410 below train_once (0.0340 to 0.0480), 0.0020 above monthly "
        "(0.0010 below to 0.0050 above, no clear difference), with 8 retrains against 1 (train_once) and 11 (monthly), "
        "and 0 pages against 2 (train_once) and 0 (monthly)."
    )
    assert cost.startswith(
        "It costs 308.1 per 1,000 predictions: 27.3 less than train_once (23.3 to 31.3), 1.3 more than"
    )
    worse = result("monthly", 0.40, against_loop={"loss": gap(-0.06, 0.01), "cost": gap(-0.1, 0.02)})
    loss, cost = headline(comparison(result("loop", 0.46, retrains=1, pages=1), worse))
    assert loss == (
        "The loop's log loss is 0.4600: 0.0600 above monthly (0.0500 to 0.0700), with 1 retrain against 8, and 1 page against 0."
    )
    assert "100.0 more than monthly (80.0 to 120.0)" in cost


@pytest.mark.parametrize(
    ("against", "expected"),
    [
        (None, "not compared with b (no rows in common)"),
        ({"loss": gap(0.0, 0.0, 0.0), "cost": gap(0.0, 0.0, 0.0)}, "the same as b"),
        (
            {"loss": gap(0.02, math.inf, math.inf), "cost": gap(0.0, math.inf)},
            "0.020 below b (one day gives no interval)",
        ),
        (
            {name: {"mean": 0.02, "lower": None, "upper": None, "error": None} for name in ("loss", "cost")},
            "0.020 below b (one day gives no interval)",
        ),
    ],
)
def test_the_headline_where_little_is_known(against, expected):
    few = comparison(result("loop", 0.46), result("b", 0.46, against_loop=against))
    assert f": {expected}, with" in headline(few)[0]
    ET.fromstring(report_html(few).removeprefix("<!DOCTYPE html>\n"))


def test_the_headline_without_anything():
    assert headline(comparison()) == ["No policy was replayed."]
    alone = headline(comparison(result("loop", 0.46)))
    assert alone == [
        "The loop's log loss is 0.460, with 8 retrains and 0 pages.",
        "It costs 307 per 1,000 predictions.",
    ]
    (unknown,) = headline(comparison(result("loop", math.nan)))
    assert unknown.startswith("The loop was never judged")


def test_the_least_of_each_row_is_marked(usual):
    best = {row.label: [cell.best for cell in row.cells] for row in rows(usual)}
    assert best["Log loss"] == [False, False, True, False]
    assert best["Pages"] == [True, False, True, True]
    assert best["Retrains"] == [False, True, False, False]
    assert not any(best["Rollbacks"] + best["Abstained"] + best["Promotions"])


def test_the_counts_are_checked(usual):
    assert "2,345 predictions = 2,300 labelled + 45 unlabelled, in every policy." in report_html(usual)
    wrong = comparison(result("loop", 0.4), result("b", 0.4, labelled=2301))
    assert "The counts of b do not add up" in report_html(wrong)
    other = comparison(result("loop", 0.4), result("b", 0.4, predictions=2346, unlabelled=46))
    assert "did not score the same rows" in report_html(other)
