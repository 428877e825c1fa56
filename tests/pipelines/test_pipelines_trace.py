"""Tracing: what fits together, what does not and where that is told; sub-pipelines; plain calls."""

import re
from pathlib import Path

import polars as pl
import pytest

import loopline as ll
from loopline.errors import DeclarationError, InvalidInput
from loopline.pipelines.accepts import accepts, element_of
from loopline.pipelines.graph import FromStep, ListOf, NamedOf
from loopline.pipelines.load import load_pipeline
from loopline.pipelines.params import read_params, read_window
from loopline.pipelines.planning import plan
from loopline.storage.artifacts import open_artifacts

FILE = Path(__file__)


@pytest.fixture
def artifacts(tmp_path):
    return open_artifacts(str(tmp_path / "artifacts"), durable=False)


@ll.step
def frame(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(rows)})


@ll.step
def parts(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return [rows]


@ll.step
def height(rows: pl.DataFrame) -> int:
    return rows.height


@ll.step
def perhaps(rows: pl.DataFrame) -> pl.DataFrame | None:
    return rows


@ll.step
def anything(value):
    return value


def line_of(text):
    return next(number for number, line in enumerate(FILE.read_text().splitlines(), 1) if text in line)


def mistake(body, artifacts):
    with pytest.raises(DeclarationError) as raised:
        plan(ll.pipeline(name="p")(body), {}, artifacts)
    return raised.value


def test_a_step_that_takes_something_else_is_told_with_both_places(artifacts):
    def body():
        height(height(frame(1)))  # the wrong call

    error = mistake(body, artifacts)
    assert error.code == "pipeline.types"
    assert (error.context["file"], error.context["line"]) == (str(FILE), line_of("# the wrong call"))
    places = re.findall(rf"{FILE.name}:(\d+)\)", error.message)
    assert [int(place) for place in places] == [line_of("def height(") - 1] * 2
    assert "takes DataFrame as 'rows'" in error.message
    assert "is int" in error.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (lambda: height(perhaps(frame(1))), "pipeline.types"),
        (lambda: height(parts(frame(1))), "pipeline.types"),
        (lambda: height.each(frame(1)), "pipeline.each"),
        (lambda: height.each(rows=parts(frame(1))), "pipeline.each"),
        (lambda: parts.each(parts.each(parts(frame(1)))), "pipeline.types"),
        (lambda: height(frame(1), when=height(frame(1))), "pipeline.condition"),
        (lambda: height(), "pipeline.call"),  # noqa: PLW0108 - called within
        (lambda: height(frame(1), 2), "pipeline.call"),
        (lambda: frame(2) and None, "pipeline.no_value_yet"),
        (lambda: [height(one) for one in parts(frame(1))], "pipeline.no_value_yet"),
        (lambda: len(parts(frame(1))), "pipeline.no_value_yet"),
    ],
)
def test_what_does_not_fit_is_refused(artifacts, body, code):
    assert mistake(body, artifacts).code == code


def test_what_fits_is_a_graph_of_data(artifacts):
    def body():
        rows = frame(3)
        heights = height.each(parts(rows))
        anything(heights)
        return {"heights": heights, "both": [height(rows), height(rows)]}

    graph = plan(ll.pipeline(name="p")(body), {}, artifacts).graph
    assert [(node.name, node.kind, sorted(dict(node.sources()))) for node in graph.nodes] == [
        ("frame", "step", []), ("parts", "step", [0]), ("height", "each", [1]), ("anything", "step", [2]),
        ("height-2", "step", [0]), ("height-3", "step", [0]),
    ]  # fmt: skip
    assert graph.result == NamedOf({"heights": FromStep(2), "both": ListOf([FromStep(4), FromStep(5)])})


@pytest.mark.parametrize(
    ("wanted", "given", "fits"),
    [
        (float, int, True), (int, float, False), (int, bool, True), (str | None, str, True), (str, str | None, False),
        (list[int], list[int], True), (list[int], list[str], False), (list, list[str], True), (list[int], list, True),
        (dict[str, int], dict[str, int], True), (dict[str, int], dict[str, str], False), (object, int, True),
        (int | str, bool, True), (tuple[int, str], tuple[int, str], True), (None, int, False), (Exception, KeyError, True),
    ],
)  # fmt: skip
def test_annotations_fit_as_values_do(wanted, given, fits):
    assert accepts(wanted, given) is fits


def test_what_elements_are():
    assert (element_of(list[int]), element_of(tuple[str, ...]), element_of(int)) == (int, str, None)


def test_outside_of_a_pipeline_everything_just_runs():
    assert height(frame(3)) == 3
    assert height.each(parts(frame(2))) == [2]
    assert height(frame(3), when=False) is None
    assert ll.pipeline(lambda: height(frame(4)))() == 4


def test_a_file_is_loaded_under_the_name_that_workers_import(artifacts):
    outer = load_pipeline(f"{FILE.parent / 'selling.py'}:outer")
    params = read_params(outer, {"value": "3"}, read_window("2026-01-01..2026-01-02"))
    planned = plan(outer, params, artifacts)
    assert [node.name for node in planned.graph.nodes] == ["inner/look", "score", "inner-2/look", "name_of"]
    assert {node.function.partition(":")[0] for node in planned.graph.nodes} == {"selling"}
    assert planned.window == read_window("2026-01-01..2026-01-02")


@pytest.mark.parametrize(("texts", "window"), [({"value": "x"}, True), ({"other": "1"}, True), ({}, False)])
def test_params_that_a_pipeline_does_not_take_are_refused(texts, window):
    outer = load_pipeline(f"{FILE.parent / 'selling.py'}:outer")
    with pytest.raises(InvalidInput):
        read_params(outer, texts, read_window("2026-01-01..2026-01-02") if window else None)
