"""Queries as steps: over named frames and tables, by DuckDB itself."""

from datetime import UTC, datetime

import polars as pl
import pytest

from loopline.errors import InvalidInput
from loopline.pipelines.kinds.sql import run_sql
from loopline.tables import Tables, TableSchema

SALES = pl.DataFrame({"region": ["n", "s", "n"], "price": [1.5, 2.0, None], "parts": [[1], [2, 3], []]})
REGIONS = pl.DataFrame({"region": ["n", "s"], "label": ["North", "South"]})


def test_frames_are_called_by_their_names():
    made = run_sql(
        """
        with priced as (select * from sales where price is not null)
        select label, sum(price) as total, max(len(parts)) as parts
        from priced join regions using (region) group by label order by label
        """,
        {"sales": SALES, "regions": REGIONS.lazy()},
    )
    assert made.rows() == [("North", 1.5, 1), ("South", 2.0, 2)]


def test_params_are_values_and_never_text_of_the_query():
    found = run_sql("select region from sales where region = $which", {"sales": SALES}, {"which": "n' or 'a' = 'a"})
    assert found.height == 0
    assert run_sql("select region from sales where price > $least", {"sales": SALES}, {"least": 1.7}).rows() == [("s",)]


def test_no_rows_keep_their_types():
    assert run_sql("select price, region from sales where false", {"sales": SALES}).schema == {
        "price": pl.Float64,
        "region": pl.String,
    }


def test_times_are_utc():
    at = pl.DataFrame({"seen": [datetime(2024, 1, 1, 23, 30, tzinfo=UTC)]})
    assert run_sql("select cast(seen as date)::varchar from rows", {"rows": at}).item() == "2024-01-01"


@pytest.mark.parametrize(
    ("query", "line", "told"),
    [
        ("select region\nfrom sales\nwhere nope = 1", 3, "nope"),
        ("select region\nfrom sales\nwhere where", 3, "syntax error"),
        ("select *\nfrom elsewhere", 2, "elsewhere"),
        ("select\n  cast(region as int)\nfrom sales", 2, "Could not convert"),
    ],
)
def test_an_error_says_its_line(query, line, told):
    with pytest.raises(InvalidInput, match=told) as caught:
        run_sql(query, {"sales": SALES})
    assert caught.value.code == "sql.failed"
    if told != "Could not convert":  # DuckDB counts the lines of its own spelling of the query there
        assert caught.value.context["line"] == line
        assert caught.value.message.startswith(f"line {line}: `")


@pytest.mark.parametrize(
    "query", ["select 1; select 2", "create table t (a int)", "copy (select 1) to 'x.csv'", "", "drop table sales"]
)
def test_what_is_not_one_select_is_refused(query):
    with pytest.raises(InvalidInput) as caught:
        run_sql(query, {"sales": SALES})
    assert caught.value.code == "sql.not_a_select"


def test_nothing_but_its_inputs_is_read(tmp_path):
    REGIONS.write_csv(tmp_path / "there.csv")
    local = REGIONS
    assert local.height == 2
    for query in (f"select * from '{tmp_path}/there.csv'", "select * from local", "select * from REGIONS"):
        with pytest.raises(InvalidInput) as caught:
            run_sql(query, {"sales": SALES})
        assert caught.value.code == "sql.failed"


def test_a_bad_name_is_refused():
    with pytest.raises(InvalidInput) as caught:
        run_sql("select 1", {"no name": SALES})
    assert caught.value.code == "sql.bad_name"


def test_what_does_not_fit_goes_to_the_scratch_folder(tmp_path):
    rows = pl.DataFrame({"a": pl.int_range(0, 2_000_000, eager=True).reverse()})
    made = run_sql(
        "select a, a::varchar || 'xxxxxxxxxxxxxxxx' as t from rows order by t, a",
        {"rows": rows},
        memory="100MB",
        scratch=tmp_path,
    )
    assert made.height == 2_000_000
    assert made["t"].is_sorted()
    assert list(tmp_path.iterdir()) == []


def test_of_a_table_the_current_rows_are_seen(tmp_path):
    table = Tables(tmp_path / "tables", durable=False).create("sales", TableSchema({"price": pl.Float64()}))
    for sequence, price in enumerate([1.0, 5.0], 1):
        at = datetime(2024, 1, sequence, tzinfo=UTC)
        row = {"_key": ["a"], "_event_time": [at], "_known_at": [at], "_tombstone": [False], "price": [price]}
        table.append(pl.DataFrame(row, schema=table.schema.all_columns), writer="w", sequence=sequence)
    assert run_sql("select _key, price from sales", {"sales": table}).rows() == [("a", 5.0)]
