"""Shapley values against their definition: the mean, over all orders of the fields, of what each adds as it comes in."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.evaluation.shapley import draw_orders, enumerable, enumerated, sampled
from loopline.evaluation.tree_shapley import Leaves, TreeShapley


def tangled(rows):
    x = rows.astype(np.float64)
    return np.sin(x[:, 0]) + x[:, 0] * x[:, 1] * x[:, 2] - np.abs(x[:, 3]) * (x[:, 0] > 0)


def additive(rows):
    return rows.astype(np.float64) @ np.arange(1.0, rows.shape[1] + 1)


def by_definition(score, row, background):
    fields = len(row)
    added = np.zeros(fields)
    orders = list(permutations(range(fields)))
    for order in orders:
        mixed = background.copy()
        before = score(mixed).mean()
        for field in order:
            mixed[:, field] = row[field]
            now = score(mixed).mean()
            added[field] += now - before
            before = now
    return added / len(orders)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(3)
    return rng.normal(size=4).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)


def test_enumeration_is_the_definition(drawn):
    row, background = drawn
    found = enumerated(tangled, row, background)
    assert found.contributions == pytest.approx(by_definition(tangled, row, background), abs=1e-12)
    assert found.base == pytest.approx(tangled(background).mean())
    assert found.error == 0


def test_sampling_adds_up_repeats_itself_and_is_as_near_as_it_says(drawn):
    row, background = drawn
    orders = draw_orders(4, 7, seed=1)
    found = sampled(tangled, row, background, orders)
    assert found == sampled(tangled, row, background, orders)
    assert found.base + sum(found.contributions) == pytest.approx(float(tangled(row[None])[0]), abs=1e-12)
    assert 0 < found.error < 0.5
    assert np.abs(found.contributions - by_definition(tangled, row, background)).max() < 5 * found.error


@pytest.mark.parametrize("fields", [1, 2, 30, 400])
def test_sampling_is_exact_for_a_sum_however_many_fields(fields):
    rng = np.random.default_rng(fields)
    row, background = rng.normal(size=fields).astype(np.float32), rng.normal(size=(100, fields)).astype(np.float32)
    orders = draw_orders(fields, 100, seed=0)
    found = sampled(additive, row, background[: len(orders)], orders)
    expected = np.arange(1.0, fields + 1) * (row - background[: len(orders)].astype(np.float64).mean(axis=0))
    assert found.contributions == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert orders.shape[0] * orders.shape[1] * max(fields - 1, 1) <= 20_000 or orders.shape[1] == 2


def test_each_order_is_one_and_stands_with_its_reverse():
    orders = draw_orders(6, 50, seed=9)
    assert (np.sort(orders, axis=2) == np.arange(6)).all()
    half = orders.shape[1] // 2
    assert (orders[:, :half] + orders[:, half:] == 5).all()


def test_few_fields_are_enumerated_and_many_are_not():
    assert enumerable(7, 100)
    assert not enumerable(8, 100)
    assert not enumerable(500, 1)


def grown(rng, fields, depth):
    """A random tree as a function of one row, and its leaves with their conditions."""

    def grow(level, path):
        if level == 0 or rng.random() < 0.2:
            value = float(rng.normal())
            leaves.append((value, dict(path)))
            return value
        field, cut, missing_left = int(rng.integers(fields)), np.float32(rng.normal()), bool(rng.random() < 0.5)
        low, high, missing = path.get(field, (np.float32(-np.inf), np.float32(np.inf), True))
        left = grow(level - 1, path | {field: (low, min(high, cut), missing and missing_left)})
        right = grow(level - 1, path | {field: (max(low, cut), high, missing and not missing_left)})
        return field, cut, missing_left, left, right

    leaves = []
    return grow(depth, {}), leaves


def walked(tree, row):
    while isinstance(tree, tuple):
        field, cut, missing_left, left, right = tree
        tree = left if (missing_left if np.isnan(row[field]) else row[field] <= cut) else right
    return tree


def as_leaves(leaves, base):
    widest = max([1, *(len(path) for _, path in leaves)])
    shape = (len(leaves), widest)
    field, missing = np.full(shape, -1), np.ones(shape, dtype=bool)
    low, high = np.full(shape, -np.inf, dtype=np.float32), np.full(shape, np.inf, dtype=np.float32)
    for number, (_, path) in enumerate(leaves):
        for place, (name, condition) in enumerate(path.items()):
            field[number, place] = name
            low[number, place], high[number, place], missing[number, place] = condition
    return Leaves(np.array([value for value, _ in leaves]), field, low, high, missing, base)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fields=st.integers(1, 5), depth=st.integers(0, 6))
def test_the_leaves_give_what_enumeration_gives(seed, fields, depth):
    rng = np.random.default_rng(seed)
    grows = [grown(rng, fields, depth) for _ in range(3)]
    leaves = as_leaves([leaf for _, found in grows for leaf in found], base=0.25)

    def score(rows):
        return np.array([0.25 + sum(walked(tree, row) for tree, _ in grows) for row in rows])

    rows = rng.normal(size=(6, fields)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    found = TreeShapley(leaves, rows[1:]).attribute(rows[0])
    expected = enumerated(score, rows[0], rows[1:])
    assert leaves.margins(rows) == pytest.approx(score(rows), abs=1e-12)
    assert found.base == pytest.approx(expected.base, abs=1e-12)
    assert found.contributions == pytest.approx(expected.contributions, abs=1e-12)
