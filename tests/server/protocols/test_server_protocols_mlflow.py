import contextlib
import csv
import io
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.models.signature import Field
from loopline.server.protocols import mlflow
from loopline.server.protocols.oip.columns import Layout

LAYOUT = Layout(
    frozenset({"id", "x", "c"}),
    (Field(name="x", kind="number", given=True), Field(name="c", kind="category", given=True)),
)
NAMES = ["id", "x", "c"]
EXPECTED = {"id": ["r1", "r2"], "x": [1.5, None], "c": ["u", None]}


def columns(body, content_type=mlflow.JSON):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return mlflow.decode(content, content_type, LAYOUT).columns


ROWS = [["r1", 1.5, "u"], ["r2", None, None]]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
FORMS = {
    "dataframe_split": {"columns": NAMES, "index": [0, 1], "data": ROWS},
    "dataframe_records": RECORDS,
    "instances": RECORDS,
    "inputs": EXPECTED,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_columns(form):
    assert columns({form: FORMS[form]}) == EXPECTED


def test_csv_gives_the_same_columns():
    assert columns(b"id,x,c\nr1,1.5,u\nr2,,\n", "text/csv; charset=utf-8") == EXPECTED


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_rows_without_names_are_the_given_fields(form):
    assert columns({form: [[1.5, "u"], [2, None]]}) == {"x": [1.5, 2], "c": ["u", None]}


def test_inputs_may_have_each_element_in_a_list_or_one_value():
    assert columns({"inputs": {"x": [[1], [2]], "c": ["u", "v"]}}) == {"x": [1, 2], "c": ["u", "v"]}
    assert columns({"inputs": {"x": 1, "c": "u"}}) == {"x": [1], "c": ["u"]}


def test_a_missing_number_as_pandas_writes_it_is_null():
    assert columns(b'{"dataframe_split": {"columns": ["x"], "data": [[NaN], [1]]}}') == {"x": [None, 1]}


def test_params_come_along():
    found = mlflow.decode(b'{"inputs": {"x": [1]}, "params": {"output": "score"}}', "", LAYOUT)
    assert found.params == {"output": "score"}


WRONG = {
    "no form": ({"params": {}}, "mlflow.one_form"),
    "two forms": ({"inputs": {}, "instances": []}, "mlflow.one_form"),
    "ragged records": ({"dataframe_records": [{"x": 1}, {"c": "u"}]}, "mlflow.ragged"),
    "ragged rows": ({"dataframe_split": {"columns": ["x", "c"], "data": [[1, "u"], [1]]}}, "mlflow.ragged"),
    "a column twice": ({"dataframe_split": {"columns": ["x", "x"], "data": [[1, 2]]}}, "mlflow.ragged"),
    "unequal columns": ({"inputs": {"x": [1, 2], "c": ["u"]}}, "mlflow.ragged"),
    "wrong width": ({"instances": [[1]]}, "mlflow.unnamed"),
    "a scalar row": ({"instances": [1, 2]}, "mlflow.unnamed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_bodies_are_refused(name):
    body, code = WRONG[name]
    with pytest.raises(InvalidInput) as caught:
        columns(body)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "mlflow.bad_csv"),
        (b"\xff\xfe", "mlflow.bad_csv"),
        (b"x,x\n1,2\n", "mlflow.ragged"),
        (b"x,c\n1\n", "mlflow.ragged"),
        (b"x\none\n", "mlflow.bad_csv"),
        (b"x\n1_0\n", "mlflow.bad_csv"),
        (b'x\n"1', "mlflow.bad_csv"),
    ],
)
def test_wrong_csv_is_refused(body, code):
    with pytest.raises(InvalidInput) as caught:
        columns(body, "text/csv")
    assert caught.value.code == code


def test_another_media_type_is_refused():
    with pytest.raises(InvalidInput) as caught:
        columns(b"PAR1", "application/vnd.apache.parquet")
    assert caught.value.code == "http.content_type"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(max_size=4), st.none() | st.floats(allow_nan=False)), max_size=4))
def test_csv_that_python_writes_is_read_back(rows):
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(["id", "x"])
    writer.writerows([["k" + text, value] for text, value in rows])
    found = columns(sheet.getvalue().encode(), "text/csv")
    assert found == {"id": ["k" + text for text, _ in rows], "x": [value for _, value in rows]}


@settings(max_examples=300)
@given(st.binary(max_size=80), st.sampled_from(["", "text/csv", "application/json"]))
def test_random_bodies_are_read_or_refused(body, kind):
    with contextlib.suppress(InvalidInput, msgspec.DecodeError):
        mlflow.decode(body, kind, LAYOUT)


def test_errors_have_the_names_that_mlflow_gives_them():
    assert [mlflow.error_code(status) for status in (400, 413, 404, 503, 500)] == [
        "BAD_REQUEST",
        "BAD_REQUEST",
        "RESOURCE_DOES_NOT_EXIST",
        "TEMPORARILY_UNAVAILABLE",
        "INTERNAL_ERROR",
    ]
