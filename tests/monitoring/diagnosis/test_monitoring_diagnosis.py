import numpy as np
import pytest

from loopline.evaluation.losses import log_loss
from loopline.monitoring.diagnosis.blind import Blind
from loopline.monitoring.diagnosis.cause import CERTAINTY, REMEDIES, cause, ranked
from loopline.monitoring.diagnosis.cells import promising_cells
from loopline.monitoring.diagnosis.links import broken_links
from loopline.monitoring.diagnosis.mix import traffic_mix
from loopline.monitoring.diagnosis.repeats import jumped, only_alike, repeated_rows

ROWS = 12_000
BEFORE, SINCE = np.arange(ROWS // 2), np.arange(ROWS // 2, ROWS)


def codes_of(values):
    return np.searchsorted(np.quantile(values, np.linspace(0, 1, 16)[1:-1]), values).astype(np.uint8)


def columns(*given):
    """How a copy reads columns."""
    return lambda places: np.column_stack([one[places] for one in given]).astype(np.float32)


def test_what_a_column_contributes_is_what_mending_it_would_save():
    """Two inputs; since the middle the model is given the first one of other rows."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, ROWS))
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-1.5 * first - second))).astype(float)
    given = first.copy()
    given[SINCE] = rng.permutation(first[SINCE])
    score, sound = (1 / (1 + np.exp(-1.5 * one - second)) for one in (given, first))
    cost = float((log_loss(score, label) - log_loss(sound, label))[SINCE].mean())
    blind = Blind(columns(given, second), score, label, log_loss, BEFORE, SINCE)
    assert blind.faithful
    culprit, other = blind.share([0]), blind.share([1])
    assert culprit.contribution == pytest.approx(cost, rel=0.4)
    assert culprit.contribution > 10 * culprit.error
    assert abs(other.contribution) < 0.2 * culprit.contribution


def test_a_model_that_the_columns_do_not_tell_is_not_explained():
    rng = np.random.default_rng(1)
    score = rng.random(ROWS)
    blind = Blind(columns(rng.normal(size=ROWS)), score, (score > 0.5).astype(float), log_loss, BEFORE, SINCE)
    assert not blind.faithful


def test_a_column_that_one_of_three_classes_hangs_on_is_told_from_one_that_none_does():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, ROWS))
    given = first.copy()
    given[SINCE] = rng.permutation(first[SINCE])

    def outputs(one):
        raised = np.exp(np.column_stack([2 * one, second, np.zeros(ROWS)]))
        return raised / raised.sum(axis=1, keepdims=True)

    told = outputs(given)
    label = np.array([rng.choice(3, p=row) for row in outputs(first)]).astype(float)

    def loss(scores, labels):
        return -np.log(scores[np.arange(len(labels)), labels.astype(int)])

    blind = Blind(columns(given, second), told, label, loss, BEFORE, SINCE)
    assert blind.faithful
    cost = float((loss(told, label) - loss(outputs(first), label))[SINCE].mean())
    culprit, other = blind.share([0]), blind.share([1])
    assert culprit.contribution == pytest.approx(cost, rel=0.4)
    assert abs(other.contribution) < 0.2 * culprit.contribution


@pytest.fixture(scope="module")
def joined():
    """Weather that goes with the hour and lasts from row to row, and a column that goes with the hour."""
    rng = np.random.default_rng(2)
    hour = (np.arange(ROWS) // 50 % 24).astype(float)
    temp = hour + np.repeat(rng.normal(0, 4, ROWS // 50), 50)
    damp = -temp + rng.normal(0, 2, ROWS)
    load = hour + rng.normal(0, 3, ROWS)
    return {"hour": hour.astype(np.uint8), "temp": temp, "damp": damp, "load": load}


def coded(columns):
    return {name: one if one.dtype == np.uint8 else codes_of(one) for name, one in columns.items()}


def test_a_join_on_the_wrong_rows_is_told_by_the_links_it_breaks(joined):
    order = np.concatenate([BEFORE, np.random.default_rng(3).permutation(SINCE)])
    broken = joined | {name: joined[name][order] for name in ("temp", "damp")}
    found = broken_links(coded(broken), BEFORE, SINCE, ("hour",))
    assert found is not None
    assert set(found.columns) == {"temp", "damp"}
    assert found.strongest_since < 0.2 * found.strongest_before


def test_links_that_hold_are_no_fault(joined):
    assert broken_links(coded(joined), BEFORE, SINCE, ("hour",)) is None


def test_rows_in_another_order_are_no_wrong_join(joined):
    order = np.concatenate([BEFORE, np.random.default_rng(4).permutation(SINCE)])
    moved = {name: one[order] for name, one in joined.items()}
    found = broken_links(coded(moved), BEFORE, SINCE)
    assert found is None


def test_a_kind_of_rows_that_stays_away_breaks_no_join():
    """Groups come together and share all they have; in summer there are none: the links that they made are gone, and nothing is broken."""
    rng = np.random.default_rng(6)
    party = np.repeat(rng.random(ROWS // 10) < np.where(np.arange(ROWS // 10) < ROWS // 20, 0.5, 0.02), 10)
    together = {name: np.repeat(rng.integers(0, 8, ROWS // 10), 10) for name in ("country", "days")}
    apart = {name: rng.integers(0, 8, ROWS) for name in together}
    rows = {name: np.where(party, together[name], apart[name]).astype(np.uint8) for name in together}
    kind = np.where(party, 1, rng.integers(2, 5, ROWS)).astype(np.uint8)
    assert broken_links(rows | {"kind": kind}, BEFORE, SINCE) is None
    found = broken_links(rows, BEFORE, SINCE)
    assert found is None or "country" in found.columns  # without a column that tells the groups it cannot be known


def test_links_that_a_season_takes_away_are_no_wrong_join():
    rng = np.random.default_rng(7)
    base = rng.normal(size=ROWS)
    fading = np.clip(1.6 - 1.5 * np.arange(ROWS) / ROWS, 0.1, 1.0)
    rows = {
        "a": codes_of(base),
        "b": codes_of(fading * base + rng.normal(0, 0.5, ROWS)),
        "c": codes_of(base + rng.normal(0, 0.5, ROWS)),
    }
    before, between, since = np.arange(4000), np.arange(4000, 9000), np.arange(9000, ROWS)
    assert broken_links(rows, before, since, between=between) is None
    sudden = rows | {"b": np.concatenate([rows["b"][:4000], rng.permutation(rows["b"][4000:])])}
    found = broken_links(sudden, before, since, between=between)
    assert found is not None
    assert found.columns == ("b",)


def test_repeats_are_counted_by_stretch():
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**60, 3000).astype(np.uint64)
    hashes[2500:2700] = hashes[2000:2200]
    found = repeated_rows(hashes, np.array([0, 1000, 2000, 3000]), 2)
    assert found.shares.tolist() == [0.0, 0.0, 0.2]
    assert found.repeated.nonzero()[0].tolist() == list(range(2500, 2700))
    assert jumped(0.2, 0.0, 1000)
    assert not jumped(0.2, 0.15, 1000)
    assert not jumped(0.01, 0.0, 1000)


def test_where_two_columns_meet_is_found():
    rng = np.random.default_rng(6)
    slices = {name: rng.integers(0, 4, 20_000).astype(np.int16) for name in "abc"}
    rise = rng.normal(0, 1, 20_000) + 0.8 * ((slices["a"] == 1) & (slices["c"] == 2))
    cells = promising_cells(slices, dict.fromkeys("abc", 4), rise - rise.mean(), ["a", "b", "c"])
    assert (cells[0].columns, cells[0].places) == (("a", "c"), (1, 2))


def test_the_mix_alone_is_counted_with_the_losses_of_before():
    names = {"region": ["north", "south"]}
    rows = {"region": (np.array([80.0, 20.0]), np.array([50.0, 50.0]))}
    (found,) = traffic_mix(names, rows, {"region": np.array([0.1, 0.5])})
    assert found.effect == pytest.approx(0.3 * 0.4)
    assert (found.slice, found.before, found.after) == ("south", 0.2, 0.5)
    assert not traffic_mix(names, {"region": (np.array([80.0, 20.0]), np.array([81.0, 19.0]))}, {"region": np.ones(2)})


def test_what_is_surely_wrong_and_costs_most_comes_first():
    told = [
        cause("drift", "temp", "", share=0.9, timing=0.3),
        cause("null_rate", "gap", "", share=0.0),
        cause("unit_change", "distance", "", share=0.6),
        cause("concept", "carrier=DL", "", share=0.7),
    ]
    assert [one.subject for one in ranked(told)] == ["distance", "carrier=DL", "temp", "gap"]
    unharmed = [one.subject for one in ranked(told, harmed=False)]
    assert unharmed == ["distance", "gap", "carrier=DL", "temp"], "no rise is there to be accounted for"
    assert set(CERTAINTY) == set(REMEDIES)


def test_two_columns_that_had_links_to_each_other_alone_are_told_together():
    rng = np.random.default_rng(8)
    base = rng.normal(size=ROWS)
    rows = {"a": codes_of(base), "b": codes_of(base + rng.normal(0, 0.3, ROWS)), "c": codes_of(rng.normal(size=ROWS))}
    wrong = rows | {"b": np.concatenate([rows["b"][BEFORE], rng.permutation(rows["b"][SINCE])])}
    found = broken_links(wrong, BEFORE, SINCE)
    assert found is not None
    assert (found.columns, found.apart) == (("a", "b"), True)
    assert found.before > 1
    assert found.since < 0.1


def test_links_are_seen_in_few_rows_and_chance_is_none():
    rng = np.random.default_rng(9)
    before, since = np.arange(400), np.arange(400, 900)
    told = 0
    for _ in range(40):
        base = rng.normal(size=900)
        alone = {name: codes_of(rng.normal(size=900)) for name in "xyz"}
        assert broken_links(alone, before, since) is None
        with_b = alone | {"a": codes_of(base), "b": codes_of(base + rng.normal(0, 0.3, 900)), "c": codes_of(base)}
        wrong = with_b | {"b": np.concatenate([with_b["b"][:400], rng.permutation(with_b["b"][400:])])}
        found = broken_links(wrong, before, since)
        told += found is not None and found.columns == ("b",)
    assert told > 35


@pytest.mark.parametrize("copies", [True, False])
def test_people_who_are_alike_are_no_copies_of_each_other(copies):
    """Half of the rows since repeat others: a job ran twice, or many came of whom little is known. Only copies bring the label along."""
    rng = np.random.default_rng(10)
    usual, p = rng.integers(0, 2**60, 2000), np.full(3000, 0.8)
    label = (rng.random(3000) < p).astype(float)
    if copies:
        hashes = np.concatenate([usual, np.repeat(rng.integers(0, 2**60, 500), 2)]).astype(np.uint64)
        label[2001::2] = label[2000::2]
    else:
        hashes = np.concatenate([usual, rng.integers(0, 2**60, 500)[rng.integers(0, 500, 1000)]]).astype(np.uint64)
    found = repeated_rows(hashes, np.array([0, 1000, 2000, 3000]), 2)
    assert all(hashes[place] == hashes[found.earlier[place]] for place in np.flatnonzero(found.repeated))
    inside = np.arange(3000) >= 2000
    assert jumped(float(found.shares[2]), found.usual, 1000)
    assert only_alike(found, float(found.shares[2]), inside, label, p**2 + (1 - p) ** 2) is not copies
    assert not only_alike(found, float(found.shares[2]), inside & (np.arange(3000) < 2050), label, p**2 + (1 - p) ** 2)
