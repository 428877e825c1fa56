import math
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.models.signature import Field, Signature, infer

CELLS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "unheard of"]))
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, width=32))


def encoded_by_hand(value: object, field: Field) -> float:
    if value is None:
        return math.nan
    if field.kind == "number":
        return float(np.float32(value))
    return float(field.categories.index(value)) if value in field.categories else math.nan


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, CELLS, st.one_of(st.none(), st.booleans())), max_size=20))
def test_encode_equals_a_loop_over_cells(rows):
    fields = (
        Field(name="colour", kind="category", given=True, categories=("c", "a", "b")),
        Field(name="size", kind="number", given=True),
        Field(name="sold", kind="number", given=False),
    )
    schema = {"size": pl.Float64, "colour": pl.String, "sold": pl.Boolean}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    matrix = Signature(fields=fields).encode(frame)
    expected = [[encoded_by_hand(row[field.name], field) for field in fields] for row in frame.iter_rows(named=True)]
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=np.float32).reshape(len(rows), 3))


def test_categories_are_ordered_by_mean_label_then_name():
    frame = pl.DataFrame({"colour": ["red", "red", "blue", "green", "green", "alpha", None]})
    label = [1, 1, 0, 1, 0, 1, 1]
    assert infer(frame, label, set()).fields[0].categories == ("blue", "green", "alpha", "red")
    assert infer(frame, None, set()).fields[0].categories == ("alpha", "blue", "green", "red")


def test_one_threshold_on_the_code_finds_the_best_of_all_subsets():
    random = np.random.default_rng(3)
    names = random.choice(list("abcdef"), size=400)
    label = (random.random(400) < np.array([0.1, 0.9, 0.4, 0.7, 0.2, 0.5])[[ord(name) - 97 for name in names]]).astype(
        int
    )
    codes = infer(pl.DataFrame({"x": names}), label, set()).encode(pl.DataFrame({"x": names}))[:, 0]

    def impurity(left: np.ndarray) -> float:
        return sum(part.sum() * label[part].mean() * (1 - label[part].mean()) for part in (left, ~left) if part.any())

    subsets = [np.isin(names, [n for bit, n in enumerate("abcdef") if mask >> bit & 1]) for mask in range(1, 63)]
    assert min(impurity(codes <= cut) for cut in range(5)) == pytest.approx(min(map(impurity, subsets)))


def test_infer_keeps_order_range_nulls_and_who_gives():
    frame = pl.DataFrame(
        {
            "n": pl.Series([3, 1, None], dtype=pl.Int8),
            "f": [1.5, float("nan"), 2.0],
            "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
            "e": pl.Series(["v", None, "u"], dtype=pl.Enum(["u", "v", "w"])),
            "b": [True, False, True],
            "z": pl.Series([None, None, None]),
        }
    )
    fields = infer(frame, None, {"f", "c"}).fields
    assert [field.name for field in fields] == ["n", "f", "c", "e", "b", "z"]
    assert [field.kind for field in fields] == ["number", "number", "category", "category", "number", "number"]
    assert [field.given for field in fields] == [False, True, True, False, False, False]
    assert [field.nulls for field in fields] == [True, True, False, True, False, True]
    assert [(field.minimum, field.maximum) for field in fields[:2]] == [(1.0, 3.0), (1.5, 2.0)]
    assert fields[3].categories == ("u", "v")
    assert (fields[5].minimum, fields[5].maximum) == (None, None)


def test_null_columns_and_other_text_types_encode():
    signature = Signature(
        fields=(
            Field(name="c", kind="category", given=True, categories=("x", "y")),
            Field(name="empty", kind="category", given=True),
        )
    )
    frame = pl.DataFrame({"c": pl.Series(["y", "z"], dtype=pl.Categorical), "empty": pl.Series([None, None])})
    np.testing.assert_array_equal(signature.encode(frame), np.array([[1, np.nan], [np.nan, np.nan]], dtype=np.float32))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"x": [1.0]}, "signature.missing_columns"),
        ({"x": ["one"], "c": ["a"]}, "signature.wrong_type"),
        ({"x": [1.0], "c": [1]}, "signature.wrong_type"),
    ],
)
def test_encode_refuses(frame, code):
    signature = Signature(
        fields=(
            Field(name="x", kind="number", given=True),
            Field(name="c", kind="category", given=True, categories=("a",)),
        )
    )
    with pytest.raises(InvalidInput) as caught:
        signature.encode(pl.DataFrame(frame))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("frame", "label", "given_names", "code"),
    [
        ({"x": [1.0, math.inf]}, None, set(), "signature.infinite"),
        ({"x": [[1], [2]]}, None, set(), "signature.wrong_type"),
        ({"x": [1.0, 2.0]}, [1], set(), "signature.label_length"),
        ({"x": [1.0, 2.0]}, None, {"y"}, "signature.missing_columns"),
    ],
)
def test_infer_refuses(frame, label, given_names, code):
    with pytest.raises(InvalidInput) as caught:
        infer(pl.DataFrame(frame), label, given_names)
    assert caught.value.code == code


@given(st.floats(-1e12, 1e12, allow_subnormal=False), st.floats(0, 1e12, allow_subnormal=False))
def test_coarse_bounds_hold_what_exact_ones_hold_and_tell_two_digits(low, width):
    """Compared with decimals: 100 values to a power of ten are nobody's own."""
    exact = infer(pl.DataFrame({"income": [low, low + width], "price": [low, low + width]}), None, {"income"})
    income, price = exact.coarse({"income"}).fields
    assert price == exact.fields[1]
    assert income.minimum <= low <= low + width <= income.maximum
    for bound, value in ((income.minimum, low), (income.maximum, low + width)):
        assert len(Decimal(repr(bound)).normalize().as_tuple().digits) <= 2
        assert abs(bound - value) <= 0.1001 * abs(value)
    assert income.minimum <= income.typical <= income.maximum
    assert len(Decimal(repr(income.typical)).normalize().as_tuple().digits) <= 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, CELLS), max_size=20))
def test_what_is_typical_is_the_middle_value_or_the_commonest_category(rows):
    frame = pl.DataFrame(rows, schema={"size": pl.Float64, "colour": pl.String}, orient="row")
    finite = sorted(value for value, _ in rows if value is not None and not math.isnan(value))
    if any(map(math.isinf, finite)):
        return
    names = sorted(name for _, name in rows if name is not None)
    size, colour = infer(frame, None, set()).fields
    assert size.typical == (finite[(len(finite) - 1) // 2] if finite else None)
    assert colour.typical == (max(names, key=lambda name: (names.count(name), -names.index(name))) if names else None)
