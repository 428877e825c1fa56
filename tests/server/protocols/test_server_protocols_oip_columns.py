import numpy as np
import pytest

from loopline.errors import InvalidInput
from loopline.models.signature import Field
from loopline.server.protocols.oip.columns import Layout, columns
from loopline.server.protocols.oip.tensors import InferRequest, Tensor

A, B = Field(name="a", kind="number", given=True), Field(name="b", kind="number", given=True)
TEXT = Field(name="c", kind="category", given=True)
NUMBERS = Layout(frozenset({"key", "at", "a", "b"}), (A, B))
MIXED = Layout(frozenset({"key", "at", "a", "c"}), (A, TEXT))
ONE = Layout(frozenset({"key", "at", "a"}), (A,))
KEY = Tensor("key", "BYTES", (2,), ["x", "y"])


def of(layout, *tensors):
    found = columns(InferRequest(tensors), layout)
    return {name: list(values) for name, values in found.items()}


@pytest.mark.parametrize("values", [[1, 2, 3, 4], np.array([1, 2, 3, 4])])
@pytest.mark.parametrize("name", ["X", "input", "a"])
def test_a_matrix_holds_the_given_fields_in_their_order(values, name):
    assert of(NUMBERS, Tensor(name, "FP32", (2, 2), values), KEY) == {"a": [1, 3], "b": [2, 4], "key": ["x", "y"]}


def test_a_model_of_one_number_takes_a_tensor_of_any_name():
    for shape in ((2,), (2, 1)):
        assert of(ONE, Tensor("X", "FP32", shape, [1, 2]), KEY) == {"a": [1, 2], "key": ["x", "y"]}
        assert of(ONE, Tensor("a", "FP32", shape, [1, 2])) == {"a": [1, 2]}


def test_columns_keep_their_names():
    assert of(MIXED, Tensor("a", "FP32", (2, 1), [1, 2]), Tensor("other", "BYTES", (2,), ["u", "v"])) == {
        "a": [1, 2],
        "other": ["u", "v"],
    }


WRONG = {
    "nothing": (NUMBERS, (), "oip.no_inputs"),
    "lengths": (NUMBERS, (KEY, Tensor("a", "FP32", (1,), [1])), "oip.different_lengths"),
    "twice": (NUMBERS, (KEY, KEY), "oip.duplicate_input"),
    "twice by a matrix": (
        NUMBERS,
        (Tensor("X", "FP32", (2, 2), [1] * 4), Tensor("a", "FP32", (2,), [1, 2])),
        "oip.duplicate_input",
    ),
    "too narrow": (NUMBERS, (Tensor("X", "FP32", (2, 3), [1] * 6),), "oip.matrix_width"),
    "no column at all": (NUMBERS, (Tensor("X", "FP32", (2, 0), []),), "oip.matrix_width"),
    "a model of text": (MIXED, (Tensor("X", "FP32", (2, 2), [1] * 4),), "oip.matrix_of_text"),
    "a matrix of text": (NUMBERS, (Tensor("X", "BYTES", (2, 2), ["u"] * 4),), "oip.matrix_of_text"),
    "three dimensions": (NUMBERS, (Tensor("X", "FP32", (2, 1, 1), [1] * 2),), "oip.dimensions"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_table_is_refused(name):
    layout, tensors, code = WRONG[name]
    with pytest.raises(InvalidInput) as caught:
        of(layout, *tensors)
    assert caught.value.code == code


def test_a_matrix_of_another_width_is_told_the_order():
    with pytest.raises(InvalidInput, match="3 columns, the model takes 2 numbers") as caught:
        of(NUMBERS, Tensor("X", "FP32", (1, 3), [1, 2, 3]))
    assert caught.value.remedy == "Give the matrix these columns, in this order: a, b."
