import polars as pl
import pytest
from deltalake import Schema

from loopline.errors import Conflict, InvalidInput
from loopline.tables import SYSTEM_COLUMNS, TableSchema

EVERYTHING = TableSchema(
    {
        "a": pl.Boolean,
        "b": pl.Int8,
        "c": pl.Int64,
        "d": pl.Float32,
        "e": pl.Binary,
        "f": pl.Date,
        "g": pl.Datetime("us", "UTC"),
        "h": pl.Decimal(12, 3),
        "i": pl.List(pl.List(pl.Int16)),
        "j": pl.Struct({"x": pl.Float64, "y": pl.List(pl.String)}),
    },
    personal=("c", "a"),
)


def test_json_round_trip():
    assert TableSchema.from_json(EVERYTHING.to_json()) == EVERYTHING
    assert TableSchema.from_json(EVERYTHING.to_json()).personal == ("a", "c")


def test_json_is_what_delta_rs_makes_of_the_same_polars_schema():
    untagged = TableSchema(EVERYTHING.columns)
    assert Schema.from_json(untagged.to_json()) == Schema.from_arrow(untagged.empty().schema)


@pytest.mark.parametrize(
    "dtype",
    [pl.UInt64, pl.Datetime("us"), pl.Datetime("ns", "UTC"), pl.Duration, pl.Categorical, pl.List(pl.UInt8), pl.Null],
)
def test_dtypes_that_delta_cannot_keep_are_refused(dtype):
    with pytest.raises(InvalidInput) as caught:
        TableSchema({"x": dtype})
    assert caught.value.code == "table.unsupported_dtype"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("columns", "personal", "code"),
    [
        ({"_key": pl.String}, (), "table.reserved_column"),
        ({"a b": pl.String}, (), "table.bad_column_name"),
        ({"": pl.String}, (), "table.bad_column_name"),
        ({"a": pl.String}, ("b",), "table.unknown_column"),
    ],
)
def test_names_that_cannot_be(columns, personal, code):
    with pytest.raises(InvalidInput) as caught:
        TableSchema(columns, personal)
    assert caught.value.code == code


def test_added_columns_are_named_and_changed_ones_refused():
    before = TableSchema({"x": pl.Float64, "y": pl.String}, ("y",))
    assert before.added_by(TableSchema({"x": pl.Float64, "y": pl.String, "z": pl.Date}, ("y", "z"))) == ("z",)
    with pytest.raises(Conflict) as caught:
        before.added_by(TableSchema({"x": pl.Int64}))
    assert caught.value.context == {"changed": ["x"], "removed": ["y"], "untagged": []}
    with pytest.raises(Conflict, match="no longer personal"):
        before.added_by(TableSchema({"x": pl.Float64, "y": pl.String}))


def test_system_columns_come_first():
    assert list(TableSchema({"x": pl.Float64}).all_columns) == [*SYSTEM_COLUMNS, "x"]
    assert TableSchema({"x": pl.Float64}).empty().schema == pl.Schema(TableSchema({"x": pl.Float64}).all_columns)
