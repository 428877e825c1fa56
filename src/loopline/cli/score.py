"""`loopline score`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from loopline.app.alone.model_file import Asked
from loopline.app.alone.score import FileRequest, score_file
from loopline.cli.options import AsJson, Cores, Executor, Home, Project, opened, operator
from loopline.cli.output import show
from loopline.cli.progress import Bar
from loopline.cli.projects import the_project
from loopline.errors import InvalidInput
from loopline.evaluation.kind import Kind
from loopline.loop.batch import PART_ROWS, BatchRequest, score_batch
from loopline.scoring.batch.intake import Policy
from loopline.scoring.batch.run import BatchScored
from loopline.sources.whole import Input, WholeFiles, WholeQuery, WholeTable
from loopline.tables.tables import Tables

app = typer.Typer(add_completion=False)

_MODEL_FILES = {".onnx", ".txt", ".json", ".ubj", ".skops"}


@app.command()
def command(
    model: Annotated[str, typer.Argument(help="MODEL, MODEL:VERSION or MODEL@ALIAS of a home; or a model file.")],
    into: Annotated[str, typer.Option("--into", help="The table; for a model file a .parquet or .csv file.")],
    source: Annotated[
        str,
        typer.Option(
            "--from", help="Parquet, CSV or JSON lines: a file, 'data/*.csv', table:NAME[@VERSION], sql:QUERY."
        ),
    ] = "",
    query: Annotated[str, typer.Option("--query", help="A query instead of --from.")] = "",
    url: Annotated[
        str, typer.Option("--url", help="Where to ask it: SQLAlchemy's URL, env:NAME, or duckdb: over files.")
    ] = "duckdb:",
    policy: Annotated[
        str, typer.Option("--policy", help="What becomes of rows that break the contract: refuse (all) or quarantine.")
    ] = "refuse",
    part_rows: Annotated[int, typer.Option("--partition-rows", help="How many rows are scored at a time.")] = PART_ROWS,
    zone: Annotated[str, typer.Option("--zone", help="The zone of times that name none, e.g. Europe/Berlin.")] = "",
    nulls: Annotated[str, typer.Option("--nulls", help="Further texts of CSV that mean no value: NA,-.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Once more, although just this was done before.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away what was begun and not ended.")] = False,
    key: Annotated[str, typer.Option("--key", help="Model file: the key's column; the row's number without.")] = "",
    at: Annotated[str, typer.Option("--at", help="Model file: the time's column; the present without.")] = "",
    group: Annotated[str, typer.Option("--group", help="Model file: the column of a ranking's group.")] = "",
    features: Annotated[str, typer.Option("--features", help="Model file: its columns in its order: a,b,c.")] = "",
    without: Annotated[str, typer.Option("--without", help="Model file: columns that are no features: a,b,c.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Model file: its kind, where the file does not say it.")] = "",
    classes: Annotated[str, typer.Option("--classes", help="Model file: the names of its classes: a,b,c.")] = "",
    threshold: Annotated[float, typer.Option("--threshold", help="Model file: positive from here on.")] = 0.5,
    executor: Executor = None,
    cores: Cores = None,
    project: Project = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Score a table, files or a query: every row gets what a scoring process would answer, with features as of its time.

    Nothing is visible before all rows are scored. Killed and run again it goes on where it was; run again after that it
    changes nothing.
    """
    chosen = _policy(policy)
    with Bar(model) as bar:
        if Path(model).is_file() or Path(model).suffix in _MODEL_FILES:
            if executor is not None:
                raise InvalidInput(
                    "batch.file_on_executor",
                    "a model file is scored with in this process",
                    remedy="Leave --executor out; a model of a home can be scored with on one.",
                )
            asked = Asked(_names(features), _kind(kind), _names(classes))
            rows = _input(source, query, url, _names(nulls), _no_tables)
            request = FileRequest(
                Path(model), rows, Path(into), key or None, at or None, group or None, None, _names(without), asked,
                threshold, chosen, part_rows, zone or None, again, fresh,
            )  # fmt: skip
            done = score_file(request, progress=bar.move)
        else:
            resources = opened(home, executor=executor, cores=cores)
            found = _input(source, query, url, _names(nulls), lambda: resources.tables)
            named = the_project(resources, project)
            asked_for = BatchRequest(named, model, found, into, chosen, part_rows, zone or None, again, fresh)
            done = score_batch(resources, asked_for, operator(), progress=bar.move)
    show(done, as_json=as_json, render=lambda console: _print(console, done))


def _input(source: str, query: str, url: str, nulls: tuple[str, ...], tables: Callable[[], Tables]) -> Input:
    if bool(source) == bool(query):
        raise InvalidInput("batch.no_source", "what is to be scored?", remedy="Give --from, or --query.")
    if query or source.startswith("sql:"):
        return WholeQuery(query or source.removeprefix("sql:"), url)
    if source.startswith("table:"):
        name, at, version = source.removeprefix("table:").partition("@")
        if at and not version.isdigit():
            raise InvalidInput("batch.which_table", f"{source!r} names no version", remedy="Write table:NAME@3.")
        return WholeTable(tables(), name, int(version) if at else None)
    return WholeFiles(source, nulls)


def _no_tables() -> Tables:
    raise InvalidInput(
        "batch.no_home",
        "a model file is scored on files or a query",
        remedy="Give --from a file, or name a model of a home.",
    )


def _policy(said: str) -> Policy:
    try:
        policy: Policy = msgspec.convert(said, Policy)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "batch.unknown_policy", f"there is no policy {said!r}", remedy="Use refuse or quarantine."
        ) from error
    return policy


def _kind(said: str) -> Kind | None:
    try:
        kind: Kind | None = msgspec.convert(said, Kind) if said else None
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "batch.unknown_kind", f"there is no kind {said!r}", remedy="Use binary, multiclass, regression or ranking."
        ) from error
    return kind


def _names(said: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in said.split(",") if name.strip())


def _print(console: Console, done: BatchScored) -> None:
    version = "" if done.version is None else f", version {done.version}"
    if done.already:
        console.print(
            f"Already done: {done.rows:,} rows are in {done.into}{version}. --again does it once more.", markup=False
        )
        return
    console.print(
        f"{done.rows:,} rows are in {done.into}{version}, scored by {done.model}:{done.model_version}.", markup=False
    )
    if done.resumed:
        console.print("It went on where it was stopped.")
    if done.flagged:
        console.print(
            f"{done.flagged:,} have a code in `degraded`: something about them was not as in training.", markup=False
        )
    if done.fallen:
        console.print(f"{done.fallen:,} were answered by a lower rung than the version asked for.")
    if done.refused:
        console.print(f"{done.refused:,} were refused and set aside, each with the reason.")
