"""The bias report against brute force, fairlearn's own functions, scipy, and simulation."""

import math

import numpy as np
import polars as pl
import pytest
from fairlearn import metrics as fairlearn
from scipy.stats import binomtest

from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.bias import MISSING, bias, bias_report, masks_of
from loopline.evaluation.disparity import figure, gaps
from loopline.evaluation.group_measures import measures, require_measure
from loopline.evaluation.intervals import mean_by_block
from loopline.evaluation.metric_frame import by_group
from loopline.evaluation.proportions import newcombe, wilson


@pytest.fixture(scope="module")
def people():
    """4,000 rows over 40 days; women's positives are missed more often."""
    rng = np.random.default_rng(5)
    n = 4000
    sex = rng.choice(["F", "M"], n)
    age = rng.choice(["old", "young", "child"], n, p=[0.6, 0.39, 0.01])
    y = (rng.random(n) < 0.3).astype(float)
    p = np.clip(0.25 + 0.3 * y - 0.12 * (sex == "F") * y + rng.normal(0, 0.15, n), 0.01, 0.99)
    chosen = np.where((p > 0.38) & (p < 0.42), np.nan, (p >= 0.4).astype(float))
    costs = np.where(np.isnan(chosen), 0.5, np.where(chosen == y, 0.0, np.where(y == 1, 4.0, 1.0)))
    return {"sex": sex, "age": age, "y": y, "p": p, "chosen": chosen, "costs": costs, "day": np.arange(n) // 100}


@pytest.fixture(scope="module")
def report(people):
    found = measures("binary", people["p"], people["y"], people["chosen"], people["costs"])
    groups = {"sex": people["sex"], "age": people["age"]}
    return bias_report(found, groups, people["day"], kind="binary", of_rows="held out")


def test_figures_are_those_of_fairlearn(report, people):
    decided = ~np.isnan(people["chosen"])
    own = {
        "false_positive_rate": (fairlearn.false_positive_rate, decided),
        "false_negative_rate": (fairlearn.false_negative_rate, decided),
        "selection_rate": (fairlearn.selection_rate, np.ones_like(decided)),
    }
    by_sex = {group.name: group for group in report.groupings[0].groups}
    for name, (function, rows) in own.items():
        picked = np.nan_to_num(people["chosen"][rows])
        frame = fairlearn.MetricFrame(
            metrics=function, y_true=people["y"][rows], y_pred=picked, sensitive_features=people["sex"][rows]
        )
        for group, value in frame.by_group.items():
            assert by_sex[f"sex={group}"].figures[name].value == pytest.approx(value, abs=1e-12)
        assert report.groupings[0].disparities[name].gap.difference == pytest.approx(frame.difference(), abs=1e-12)
        assert report.groupings[0].disparities[name].ratio == pytest.approx(frame.ratio(), abs=1e-12)
    odds = fairlearn.equalized_odds_difference(
        people["y"][decided], people["chosen"][decided], sensitive_features=people["sex"][decided]
    )
    assert report.groupings[0].equalized_odds == pytest.approx(odds, abs=1e-12)
    assert report.groupings[0].demographic_parity == report.groupings[0].disparities["selection_rate"].gap.difference


def test_figures_are_means_of_the_rows_that_count(report, people):
    women = people["sex"] == "F"
    told = next(group for group in report.groupings[0].groups if group.name == "sex=F").figures
    missed = women & (people["y"] == 1) & ~np.isnan(people["chosen"])
    assert told["false_negative_rate"].rows == missed.sum()
    assert told["false_negative_rate"].value == pytest.approx((people["chosen"][missed] == 0).mean())
    assert told["abstention_rate"].value == pytest.approx(np.isnan(people["chosen"][women]).mean())
    assert told["cost"].value == pytest.approx(people["costs"][women].mean())
    assert told["calibration_gap"].value == pytest.approx((people["p"] - people["y"])[women].mean())
    assert told["base_rate"].value == pytest.approx(people["y"][women].mean())
    assert "base_rate" not in report.groupings[0].disparities


def test_the_planted_bias_is_found_and_the_others_are_not(report):
    gap = report.groupings[0].disparities["false_negative_rate"].gap
    assert (gap.larger, gap.smaller) == ("sex=F", "sex=M")
    assert gap.lower is not None
    assert gap.lower > 0.1
    other = report.groupings[0].disparities["false_positive_rate"].gap
    assert other.lower is not None
    assert other.lower < 0


def test_few_rows_are_listed_and_not_judged(report):
    by_age = report.groupings[1]
    assert by_age.not_judged == ("age=child",)
    assert {group.name: bool(group.figures) for group in by_age.groups} == {
        "age=child": False,
        "age=old": True,
        "age=young": True,
    }
    assert [grouping.by for grouping in report.groupings] == [("sex",), ("age",), ("sex", "age")]
    assert "sex=F, age=child" in report.groupings[2].not_judged
    assert report.groupings[2].disparities["selection_rate"].pairs == math.comb(4, 2)


def test_null_is_a_group_of_its_own():
    found = {"absolute_error": np.arange(6.0)}
    told = bias_report(
        found, {"sex": ["F", None, "F", None, "M", "M"]}, np.arange(6), kind="regression", of_rows="", min_rows=1
    )
    assert [group.name for group in told.groupings[0].groups] == [f"sex={MISSING}", "sex=F", "sex=M"]
    assert told.groupings[0].groups[0].figures["absolute_error"].value == 2.0


@pytest.mark.parametrize(("successes", "rows"), [(0, 5), (1, 20), (7, 7), (40, 300)])
def test_wilson_is_scipys(successes, rows):
    expected = binomtest(successes, rows).proportion_ci(0.9, method="wilson")
    found = wilson(successes, rows, 0.9)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_newcombe_gives_the_example_of_his_paper():
    """56 of 70 against 48 of 80: 0.2000, from 0.0524 to 0.3339 (Newcombe 1998, table II, contrast a, method 10)."""
    found = newcombe(wilson(56, 70, 0.95), wilson(48, 80, 0.95))
    assert (found.value, found.lower, found.upper) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_many_events_are_judged_by_block_and_few_by_wilson():
    rng = np.random.default_rng(1)
    blocks = np.arange(2000) // 50
    x = (rng.random(2000) < 0.3).astype(float)
    found = figure(x, blocks, confidence=0.9, min_rows=50)
    expected = mean_by_block(x, blocks, 0.9)
    assert (found.method, found.lower, found.upper) == ("blocks", expected.lower, expected.upper)
    rare = np.zeros(2000)
    rare[:3] = 1
    found = figure(rare, blocks, confidence=0.9, min_rows=50)
    assert (found.method, found.upper) == ("wilson", wilson(3, 2000, 0.9).upper)
    numbers = figure(rng.normal(size=30), np.zeros(30), confidence=0.9, min_rows=50)
    assert (numbers.lower, numbers.upper, numbers.judged) == (None, None, False)


def test_a_gap_is_covered_as_often_as_it_says_though_rows_of_a_day_go_together():
    """300 worlds in which a day lifts both groups: the true gap of 0.1 lies within nine intervals of ten."""
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(300):
        day = np.repeat(np.arange(30), 40)
        group = rng.random(1200) < 0.5
        lift = rng.normal(0, 0.1, 30)[day]
        x = (rng.random(1200) < np.clip(0.4 + 0.1 * group + lift, 0, 1)).astype(float)
        [gap] = gaps(x, {"a": group, "b": ~group}, day, confidence=0.9, min_rows=10)
        low, high = (gap.lower, gap.upper) if gap.larger == "a" else (-gap.upper, -gap.lower)
        inside += low <= 0.1 <= high
    assert 0.85 < inside / 300 < 0.95


def test_looking_at_many_groups_finds_no_more_by_chance():
    """200 worlds of ten equal groups: in about one of twenty some gap's lower bound lies above zero, and not in most."""
    rng = np.random.default_rng(9)
    found = {True: 0, False: 0}
    for _ in range(200):
        x, group = (rng.random(2000) < 0.3).astype(float), rng.integers(0, 10, 2000)
        masks = {str(one): group == one for one in range(10)}
        for adjusted in found:
            told = gaps(x, masks, np.arange(2000), confidence=0.9, min_rows=10, adjusted=adjusted)
            found[adjusted] += max(gap.lower for gap in told) > 0
    assert found[True] <= 24
    assert found[False] >= 80


def test_fairlearn_groups_as_we_do(people):
    columns = {"sex": people["sex"].tolist(), "age": people["age"].tolist()}
    ours = {key: people["p"][mask].mean() for key, mask in masks_of(columns).items()}
    theirs = {key: told["p"] for key, told in by_group({"p": people["p"]}, columns).items()}
    assert theirs == pytest.approx(ours)


def test_numbers_and_classes_have_measures_of_their_own():
    nothing = np.full(3, np.nan)
    numbers = measures("regression", [1.0, 2.0, np.nan], [0.0, 4.0, 1.0], nothing, nothing)
    assert numbers["mean_error"] == pytest.approx([1.0, -2.0, np.nan], nan_ok=True)
    assert numbers["absolute_error"] == pytest.approx([1.0, 2.0, np.nan], nan_ok=True)
    assert "cost" not in numbers
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]])
    classes = measures("multiclass", p, [0.0, 1.0, np.nan], nothing, [0.0, 3.0, np.nan])
    assert classes["error_rate"] == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)
    assert classes["log_loss"][:2] == pytest.approx(-np.log([0.7, 0.2]))
    assert classes["cost"] == pytest.approx([0.0, 3.0, np.nan], nan_ok=True)
    with pytest.raises(InvalidInput, match=r"bias\.kind"):
        measures("ranking", [1.0], [1.0], [1.0], [1.0])


def test_a_declaration_names_its_groups():
    made = bias(by=["sex", (pl.col("age") > 60).alias("old")])
    assert made.names == ("sex", "old")
    assert bias(by={"old": pl.col("age") > 60}).names == ("old",)
    assert made.describe()["min_rows"] == 50
    for wrong in ([], ["sex", "sex"]):
        with pytest.raises(InvalidInput, match=r"bias\.columns"):
            bias(by=wrong)
    with pytest.raises(InvalidInput, match=r"bias\.terms"):
        bias(by=["sex"], min_rows=0)
    with pytest.raises(NotFound, match=r"bias\.unknown_measure"):
        require_measure("niceness")
