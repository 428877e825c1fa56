import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from loopline.errors import InvalidInput, NotFound
from loopline.monitoring.alarm import open_alarms
from loopline.monitoring.drift import diagnose, drift
from loopline.monitoring.history import keep_profile, raise_data_fault, read_profile
from loopline.monitoring.profile import Profile, ReferenceProfile, freeze, merge, profile, reference_profile
from loopline.monitoring.quality import find_faults, stale
from loopline.values import Window

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)

numbers = st.lists(st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, math.inf, -math.inf, math.nan]))


def frame(seed, rows=600, **changes):
    rng = np.random.default_rng(seed)
    columns = {
        "distance": rng.gamma(3, 300, rows),
        "delay": rng.normal(10, 5, rows),
        "hour": rng.integers(5, 23, rows),
        "carrier": rng.choice(["AA", "DL", "UA"], rows, p=[0.5, 0.3, 0.2]),
    }
    return pl.DataFrame(columns | changes)


@pytest.fixture(scope="module")
def reference():
    return reference_profile([frame(seed) for seed in range(20)])


def test_counts_as_numpy_counts():
    x = np.random.default_rng(1).normal(size=1000)
    binning = freeze(pl.DataFrame({"x": x}), bins=10)
    edges = np.array(binning.numbers["x"])
    y = np.random.default_rng(2).normal(0.5, 2, size=777)
    got = profile(pl.DataFrame({"x": y}), binning).numbers["x"]
    assert list(got.counts[1:-1]) == np.histogram(y, edges)[0].tolist()
    assert (got.counts[0], got.counts[-1]) == ((y < edges[0]).sum(), (y > edges[-1]).sum())
    assert (got.mean, got.deviation, got.low, got.high) == (
        pytest.approx(y.mean()),
        pytest.approx(y.std()),
        y.min(),
        y.max(),
    )


@settings(deadline=None)
@given(numbers, numbers)
def test_numbers_of_two_stretches_add_up(first, second):
    binning = freeze(pl.DataFrame({"x": [0.0, 1.0, 1.0, 2.0, 5.0]}), bins=4)
    a, b = (pl.DataFrame({"x": x}, schema={"x": pl.Float64}) for x in (first, second))
    merged = merge(profile(a, binning), profile(b, binning)).numbers["x"]
    whole = profile(pl.concat([a, b]), binning).numbers["x"]
    assert (merged.counts, merged.nulls, merged.finite) == (whole.counts, whole.nulls, whole.finite)
    assert (merged.low, merged.high) == (whole.low, whole.high)
    assert merged.rows == len(first) + len(second)
    if whole.mean is not None:
        assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
        assert merged.deviation == pytest.approx(whole.deviation, rel=1e-6, abs=1e-3)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcxyz") | st.none()), st.lists(st.sampled_from("abcxyz") | st.none()))
def test_categories_of_two_stretches_add_up(first, second):
    binning = freeze(pl.DataFrame({"c": ["a", "a", "b", "c"]}))
    a, b = (pl.DataFrame({"c": c}, schema={"c": pl.String}) for c in (first, second))
    assert merge(profile(a, binning), profile(b, binning)) == profile(pl.concat([a, b]), binning)


def test_categories_booleans_and_missing():
    binning = freeze(pl.DataFrame({"c": ["b", "a", "b"], "f": [True, False, True]}))
    got = profile(pl.DataFrame({"c": ["a", "z", None, "y"], "f": [True, True, None, False]}), binning)
    assert binning.categories == {"c": ("b", "a"), "f": ("true", "false")}
    assert got.categories["c"].masses == (0, 1, 2, 1)
    assert got.categories["c"].examples == ("y", "z")
    assert got.categories["f"].masses == (2, 1, 0, 1)


def test_a_constant_and_an_empty_column():
    binning = freeze(pl.DataFrame({"k": [4.0] * 5, "n": pl.Series([None] * 5, dtype=pl.Float64)}))
    assert "n" not in binning.numbers
    assert profile(pl.DataFrame({"k": [4.0, 3.0, 5.0, 5.0]}), binning).numbers["k"].counts == (1, 1, 2)


def test_columns_that_are_not_there_are_told():
    binning = freeze(pl.DataFrame({"x": [1.0, 2.0]}))
    with pytest.raises(InvalidInput, match="no column 'x'"):
        profile(pl.DataFrame({"y": [1.0]}), binning)
    with pytest.raises(InvalidInput, match="was numeric"):
        profile(pl.DataFrame({"x": ["1"]}), binning)
    with pytest.raises(InvalidInput):
        reference_profile([])


def test_json_brings_a_reference_back(reference):
    assert msgspec.json.decode(msgspec.json.encode(reference), type=ReferenceProfile) == reference


def test_distances_as_scipy_has_them(reference):
    now = profile(frame(99, delay=np.random.default_rng(9).normal(13, 6, 600)), reference.binning)
    before, after = reference.profile.numbers["delay"], now.numbers["delay"]
    got = drift(before, after, reference.binning.numbers["delay"])
    p, q = (np.array(one.masses) / one.rows for one in (before, after))
    assert got.jensen_shannon == pytest.approx(jensenshannon(p, q, base=2))
    assert got.total_variation == pytest.approx(np.abs(p - q).sum() / 2)
    a, b = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    assert got.psi == pytest.approx(np.sum((a - b) * np.log(a / b)))


def test_wasserstein_is_near_that_of_the_values_themselves():
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 1, 20_000), rng.normal(0.3, 1.4, 20_000)
    binning = freeze(pl.DataFrame({"x": x}), bins=50)
    before, now = (profile(pl.DataFrame({"x": v}), binning).numbers["x"] for v in (x, y))
    got = drift(before, now, binning.numbers["x"]).wasserstein
    assert got == pytest.approx(stats.wasserstein_distance(x, y) / x.std(), rel=0.1)


def test_what_moved_is_ranked_first_and_said(reference):
    changed = frame(50, delay=np.random.default_rng(1).normal(25, 5, 600), carrier=["AA"] * 300 + ["B6"] * 300)
    first, second = diagnose(reference, profile(changed, reference.binning))[:2]
    assert {first.column, second.column} == {"delay", "carrier"}
    by_name = {one.column: one for one in (first, second)}
    assert "'B6'" in by_name["carrier"].sentence
    assert "50.0%" in by_name["carrier"].sentence
    assert "delay" in by_name["delay"].sentence


def test_importance_weighs(reference):
    now = profile(
        frame(50, delay=np.random.default_rng(1).normal(25, 5, 600), distance=np.full(600, 9e3)), reference.binning
    )
    assert [one.column for one in diagnose(reference, now, {"delay": 1.0, "distance": 0.01})][:2] == [
        "delay",
        "distance",
    ]
    assert [one.column for one in diagnose(reference, now, {"delay": 0.01, "distance": 1.0})][:2] == [
        "distance",
        "delay",
    ]


def test_rows_as_before_are_seldom_suspect(reference):
    found = [one for seed in range(100, 150) for one in diagnose(reference, profile(frame(seed), reference.binning))]
    assert len(found) <= stats.binom.ppf(0.999, 50 * 4, 0.07)


def test_blocks_that_differ_by_themselves_make_differences_usual():
    def weather(seed):
        return pl.DataFrame({"t": np.random.default_rng(seed).normal(np.sin(seed) * 10, 3, 500)})

    seasonal = reference_profile([weather(seed) for seed in range(30)])
    alone = ReferenceProfile(seasonal.binning, seasonal.profile)
    now = profile(weather(101), seasonal.binning)
    assert diagnose(alone, now)
    assert not diagnose(seasonal, now)


def test_missing_values_are_told(reference):
    now = profile(frame(7, delay=[None] * 300 + [10.0] * 300), reference.binning)
    suspect = next(one for one in diagnose(reference, now) if one.column == "delay")
    assert suspect.sentence == "delay is missing in 50.0% of rows; it was in 0.0%."


def faults(reference, changed):
    return {(one.column, one.kind): one for one in find_faults(reference, profile(changed, reference.binning))}


def test_ordinary_rows_have_no_fault(reference):
    assert not [one for seed in range(200, 230) for one in faults(reference, frame(seed))]


def test_each_fault_is_found(reference):
    assert set(faults(reference, frame(8, delay=[None] * 60 + [10.0 + place / 50 for place in range(540)]))) == {
        ("delay", "null_rate")
    }
    assert set(faults(reference, frame(8, carrier=["AA", "DL"] * 270 + ["XX"] * 60))) == {
        ("carrier", "unseen_categories")
    }
    assert set(faults(reference, frame(8, delay=[10.5] * 600))) == {("delay", "constant")}
    assert set(faults(reference, frame(8, carrier=["AA"] * 600))) == {("carrier", "constant")}
    assert ("delay", "out_of_range") in faults(reference, frame(8, delay=[10.0, 11.0] * 270 + [-999.0] * 60))


def test_a_new_season_is_drift_and_no_fault(reference):
    hot = frame(8, delay=frame(8)["delay"] + 60)
    assert not faults(reference, hot)
    assert diagnose(reference, profile(hot, reference.binning))[0].column == "delay"


def test_a_column_that_is_constant_on_dry_days_is_no_fault_on_one():
    days = [pl.DataFrame({"rain": np.random.default_rng(n).gamma(1, 1, 300) * (n % 3 == 0)}) for n in range(30)]
    seasonal = reference_profile(days)
    assert not faults(seasonal, days[1])
    always_wet = reference_profile(days[::3])
    assert set(faults(always_wet, days[1])) == {("rain", "constant")}


def test_a_flag_that_stands_still_is_a_fault_and_one_that_moves_is_drift():
    days = [pl.DataFrame({"flag": (np.random.default_rng(n).random(300) < 0.48) * 1.0}) for n in range(20)]
    usual = reference_profile(days[:15])
    assert not faults(usual, days[16])
    still = pl.DataFrame({"flag": np.ones(300)})
    assert set(faults(usual, still)) == {("flag", "constant")}
    more = pl.DataFrame({"flag": (np.random.default_rng(99).random(300) < 0.7) * 1.0})
    assert not diagnose(usual, profile(days[16], usual.binning))
    assert [one.column for one in diagnose(usual, profile(more, usual.binning))] == ["flag"]


def test_a_changed_unit_is_named(reference):
    found = faults(reference, frame(8, distance=frame(8)["distance"] * 1.609344))
    assert "miles and kilometres" in found["distance", "unit_change"].sentence
    assert ("delay", "unit_change") in faults(reference, frame(8, delay=frame(8)["delay"] / 60))
    assert ("distance", "unit_change") not in faults(reference, frame(8, distance=frame(8)["distance"] * 1.3))


def test_a_few_rows_prove_nothing(reference):
    assert not faults(reference, frame(8).head(40).with_columns(delay=pl.lit(None, dtype=pl.Float64)))


def test_the_same_values_again_are_a_fault(reference):
    now = profile(frame(8), reference.binning)
    again = find_faults(reference, now, previous=now)
    assert {(one.column, one.kind) for one in again} == {(name, "repeated") for name in ("distance", "delay", "hour")}
    assert not find_faults(reference, now, previous=profile(frame(9), reference.binning))


def test_a_stale_source():
    assert stale("weather", START, START + DAY, DAY) is None
    late = stale("weather", START, START + 2 * DAY, DAY)
    assert (late.kind, late.value, late.expected) == ("stale", 2 * 86400, 86400)
    assert stale("weather", None, START, DAY).value == math.inf


def test_profiles_are_kept_by_block(database, reference):
    first, second = (profile(frame(seed), reference.binning) for seed in (1, 2))
    with database.transaction() as tx:
        for n, one in enumerate((second, second)):
            window = Window(START + n * DAY, START + (n + 1) * DAY)
            keep_profile(tx, project="flights", model="late", window=window, profile=one)
        keep_profile(tx, project="flights", model="late", window=Window(START, START + DAY), profile=first)
        both = read_profile(tx, project="flights", model="late", window=Window(START, START + 2 * DAY))
        one = read_profile(tx, project="flights", model="late", window=Window(START, START + DAY))
        with pytest.raises(NotFound):
            read_profile(tx, project="flights", model="late", window=Window(START - DAY, START))
    assert one == first
    assert both == merge(first, second)
    assert isinstance(both, Profile)


def test_data_faults_make_one_alarm_that_is_no_page(database, reference):
    found = find_faults(reference, profile(frame(8, delay=[10.5] * 600), reference.binning))
    window = Window(START, START + DAY)
    with database.transaction() as tx:
        for _ in range(2):
            alarm = raise_data_fault(tx, project="flights", model="late", window=window, faults=found, at=START + DAY)
        assert open_alarms(tx, "flights") == [alarm]
        assert raise_data_fault(tx, project="flights", model="late", window=window, faults=[], at=START) is None
    assert (alarm.kind, alarm.page) == ("data_fault", False)
    assert alarm.evidence["faults"][0]["kind"] == "constant"
