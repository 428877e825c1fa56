"""Queries, notebooks, commands and sheets as steps of a pipeline, through the engine."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import loopline as ll
import loopline.pipelines.healing.store
import loopline.pipelines.store
from loopline.clock import SystemClock
from loopline.errors import DeclarationError
from loopline.pipelines import reading
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import submit
from loopline.pipelines.inline import Inline
from loopline.pipelines.planning import plan
from loopline.storage.artifacts import open_artifacts

SALES = pl.DataFrame({"region": ["north", "south", "north"], "amount": [1, 2, 4]})

totals = ll.query(
    "select region, sum(amount)::bigint as total from sales where region = $region group by 1", name="totals"
)
wrong = ll.query("select nothing from sales")
joined = ll.query("select count(*)::bigint as n from one join other using (region)")
sorted_lines = ll.command('sort -r "$lines" > out.txt; echo "$word $number" > said.csv', output=("out.txt", "said.csv"))
printed = ll.command(["echo", "hello"])
exits = ll.command("exit 127", heal=ll.when("dependency", ll.skip_window))


@ll.step
def sales() -> pl.DataFrame:
    return SALES


@ll.step
def in_pandas(rows: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(rows.to_dict(as_series=False))


@ll.step
def size(content: bytes) -> int:
    return len(content)


@ll.step
def count(rows: list[int]) -> int:
    return len(rows)


@pytest.fixture
def engine(tmp_path):
    return Engine(open_artifacts(str(tmp_path / "artifacts"), durable=False), SystemClock())


@pytest.fixture
def run(database, engine, tmp_path):
    def go(body):
        planned = plan(ll.pipeline(name="p")(body), {}, engine.artifacts)
        with database.transaction() as tx:
            execution, _ = submit(tx, engine, planned)
        Inline(engine, database, tmp_path / "code").run(execution)
        with database.reading() as tx:
            failed = [(name, error.error_class, error.code) for name, error in reading.failures_of(tx, execution)]
            steps = {one.name: one.reused or one.state for one in reading.steps_of(tx, execution)}
            return failed or reading.result_of(tx, execution, engine.artifacts), steps, execution

    return go


def test_a_query_takes_frames_and_params_by_name_and_is_reused(run):
    def body():
        return totals(sales=sales(), region="north")

    expected = SALES.filter(region="north").group_by("region").agg(total=pl.col("amount").sum())
    found, _, first = run(body)
    assert_frame_equal(found, expected)
    assert run(body)[1] == {"sales": first, "totals": first}


def test_a_query_takes_frames_of_pandas_too(run):
    def body():
        rows = sales()
        return joined(one=rows, other=in_pandas(rows))

    assert run(body)[0]["n"].to_list() == [5]


def test_a_query_that_is_wrong_is_a_mistake_in_the_code(run):
    assert run(lambda: wrong(sales=sales()))[0] == [("query", "code", "sql.failed")]


def test_a_command_takes_files_and_variables_and_gives_what_it_writes(run):
    def body():
        out, said = sorted_lines(lines=b"a\nb\n", word="so", number=3)
        return out, size(out), said

    out, length, said = run(body)[0]
    assert (out, length) == (b"b\na\n", 4)
    assert said.columns == ["so 3"]


def test_a_command_without_outputs_gives_what_it_prints(run):
    assert run(lambda: printed())[0] == "hello\n"  # noqa: PLW0108 - called within


def test_the_kind_of_a_failed_command_decides_what_is_tried(run):
    found, steps, _ = run(lambda: exits())  # noqa: PLW0108 - called within
    assert found is None
    assert steps == {"command": "skipped"}


@pytest.mark.parametrize(("last", "expected"), [("", [3]), ("1 / 0", [("look", "code", "notebook.cell_failed")])])
def test_a_notebook_takes_frames_and_params_and_gives_what_it_writes(run, tmp_path, last, expected):
    cells = [
        "import polars as pl",
        "pl.DataFrame({'n': [pl.read_parquet(rows).height * times]}).write_csv('n.csv')",
        last,
    ]
    made = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": cell} for cell in cells
    ]
    path = tmp_path / "look.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": made}))
    look = ll.notebook(str(path), output="n.csv")
    found = run(lambda: look(rows=sales(), times=1))[0]
    assert (found if isinstance(found, list) else found["n"].to_list()) == expected


def test_a_sheet_is_read_each_time(run, tmp_path):
    spec = spec_from_file_location("written_sheets", Path(__file__).parents[1] / "sources" / "conftest.py")
    sheets = module_from_spec(spec)
    spec.loader.exec_module(sheets)
    file = tmp_path / "prices.xlsx"
    prices = ll.sheet(str(file), sheet="June", rename={"p": "price"})
    for price in (1, 2):
        sheets._write(file, June=[["p"], [price]])
        assert run(lambda: prices())[0]["price"].to_list() == [price]  # noqa: PLW0108 - called within


def test_inputs_are_given_by_name_only():
    for call in (lambda: totals(SALES), lambda: totals.each([SALES])):
        with pytest.raises(DeclarationError, match="takes its inputs by name"):
            call()


def test_outside_of_a_pipeline_they_just_run():
    assert totals(sales=SALES, region="south")["total"].to_list() == [2]


def test_what_they_give_must_fit_where_it_goes(engine):
    with pytest.raises(DeclarationError, match=r"takes list\[int\].*what `totals` .* is DataFrame"):
        plan(ll.pipeline(name="p")(lambda: count(totals(sales=sales(), region="n"))), {}, engine.artifacts)
