import math
import operator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.models.rule import Rule, rule
from loopline.values import canonical_json

NUMBERS = st.one_of(st.none(), st.integers(-3, 3).map(float), st.just(math.nan))
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def missing(value):
    return value is None or value != value  # noqa: PLR0124 - NaN


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(OPERATORS)), st.integers(-3, 3)), min_size=1, max_size=3),
    st.lists(TEXTS.filter(bool), max_size=2),
    NUMBERS,
    TEXTS,
)
def test_a_rule_gives_what_python_would(comparisons, names, number, text):
    words = " and ".join([*(f"x {op} {bound}" for op, bound in comparisons), f"name in {names!r}"])
    found = rule([(words, 1.0), ("x is None", 2.0), ("name is not None", 3.0)], otherwise=4.0)
    row = {"x": number, "name": text}
    holds = not missing(number) and all(OPERATORS[op](number, bound) for op, bound in comparisons) and text in names
    expected = 1.0 if holds else 2.0 if missing(number) else 3.0 if text is not None else 4.0
    assert found.output(row.get) == (expected, int(expected) % 4)


def test_it_travels_as_plain_values():
    found = rule([("distance > 2000 and carrier not in ['AA', 'UA']", 0.4), ("code == -1", 0.9)], otherwise=0.1)
    assert msgspec.json.decode(canonical_json(found), type=Rule) == found
    assert found.columns == ("distance", "carrier", "code")
    wide = rule([("x > 0", [0.2, 0.8])], otherwise=(0.5, 0.5))
    assert msgspec.json.decode(canonical_json(wide), type=Rule) == wide


@pytest.mark.parametrize("value", ["5", True, [1], {}, object()])
def test_a_value_of_another_type_meets_no_comparison(value):
    found = rule([("x > 3", 1.0), ("x == 4", 2.0)], otherwise=0.0)
    assert found.output({"x": value}.get)[0] == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x >",
        "x > y",
        "x > 1 or x < 0",
        "1 < x",
        "0 < x < 1",
        "x.y > 1",
        "x in 3",
        "x == [1]",
        "x is 3",
        "x == None",
        "x == True",
        "__import__('os').system('true') > 0",
        "x > __import__('os').getpid()",
    ],
)
def test_what_is_no_comparison_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        rule([(text, 1.0)], otherwise=0.0)
    assert caught.value.code == "rule.unreadable"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, []])
def test_an_output_that_is_no_number_is_refused(wrong):
    with pytest.raises(InvalidInput):
        rule([("x > 1", wrong)], otherwise=0.0)
    with pytest.raises(InvalidInput):
        rule([("x > 1", 0.0)], otherwise=wrong)
