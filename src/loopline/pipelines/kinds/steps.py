"""`query`, `notebook`, `command` and `sheet`: steps that are made of a text or a file. Their inputs are named in the call, their options are
those of `step`.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec
import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.pipelines.declare import step_options
from loopline.pipelines.healing.remedies import When
from loopline.pipelines.kinds.command import run_command
from loopline.pipelines.kinds.notebook import run_notebook
from loopline.pipelines.kinds.ready import ReadyStep, beside, frame_of, gathered, kind_of, outputs_of, written
from loopline.pipelines.kinds.sql import run_sql
from loopline.pipelines.retries import Retries
from loopline.sources.spreadsheet import spreadsheet


class StepOptions(TypedDict, total=False):
    """The options of `step`."""

    retries: int | Retries
    timeout: str | timedelta | None
    cores: float
    memory: str | int | None
    reuse: bool
    priority: int
    limit: str | None
    hints: Mapping[str, Any] | None
    heal: When | Sequence[When] | None


def query(text: str, *, name: str = "query", **options: Unpack[StepOptions]) -> ReadyStep:
    """A select over frames, as a step: `query("select sum(amount) as total from sales where region = $region")`, called as
    `totals(sales=rows, region="north")`. Frames (Polars, pandas, Arrow) are tables of their names, plain values are `$name`; it reads nothing
    else. Gives a Polars frame. Times are UTC. `name` is the step's in the graph.

    Raises `InvalidInput` as `step` for options; the step fails as `run_sql` says.
    """
    return ReadyStep(name, ask, step_options(**options), lambda: {"text": text}, pl.DataFrame)


def notebook(
    path: str,
    *,
    output: str | tuple[str, ...] = (),
    kernel: str = "python3",
    name: str = "",
    **options: Unpack[StepOptions],
) -> ReadyStep:
    """A notebook as a step, `report(rows=rows, region="north")`. Plain inputs are its params (see `run_notebook`); frames and bytes are files in
    the folder it runs in, and the param is the file's name: `pl.read_parquet(rows)`.

    Gives the file that it writes as `output` (Parquet and CSV as Polars frames, others as bytes; several files, several values), without one
    the notebook with all it showed, as bytes. `path` is taken from the folder of the declaring file. Raises `InvalidInput` as `step`; a call
    raises `NotFound` "notebook.not_found" where it is not there.
    """
    file, outputs = beside(path), outputs_of(output)
    return ReadyStep(
        name or file.stem,
        show,
        step_options(**options),
        lambda: {"content": _bytes_of(file), "outputs": list(outputs), "kernel": kernel},
        kind_of(outputs, bytes),
    )


def command(
    line: str | Sequence[str],
    *,
    output: str | tuple[str, ...] = (),
    name: str = "command",
    **options: Unpack[StepOptions],
) -> ReadyStep:
    """A shell command, or a program with its arguments, as a step: `command("sort -u $names > sorted.txt", output="sorted.txt")`.

    It runs in an empty folder of its own. Each input is a variable of its environment: plain data as JSON, text as it is; frames (as Parquet) and
    bytes are files, and the variable is the file's name. Gives the file that it writes as `output`, as `notebook` does; without one the
    text that it prints. Raises `InvalidInput` as `step`; the step fails as `run_command` says.
    """
    outputs = outputs_of(output)
    given = {"line": line if isinstance(line, str) else list(line), "outputs": list(outputs)}
    return ReadyStep(name, call, step_options(**options), lambda: given, kind_of(outputs, str))


def sheet(
    path: str,
    *,
    sheet: str | int = 0,
    header: int = 0,
    rename: Mapping[str, str] | None = None,
    name: str = "",
    **options: Unpack[StepOptions],
) -> ReadyStep:
    """The rows of one sheet of an Excel or OpenDocument file, as a step without inputs, e.g. of `prices.xlsx` with `sheet="June"`.

    Gives a Polars frame. The file is read each time it runs, unless `reuse=True`. `path` is taken from the folder of the declaring file;
    `header` is the row of the names, from 0. Raises `InvalidInput` as `step`; the step fails as `Spreadsheet.rows` says.
    """
    file = beside(path)
    given = {"path": str(file), "sheet": sheet, "header": header, "rename": dict(rename or {})}
    options.setdefault("reuse", False)
    return ReadyStep(name or file.stem, read, step_options(**options), lambda: given, pl.DataFrame)


def ask(text: str, inputs: dict[str, Any]) -> pl.DataFrame:
    """The rows of a query over the frames among the inputs; the other inputs are its params."""
    frames = {name: frame for name, value in inputs.items() if (frame := frame_of(value)) is not None}
    params = {name: value for name, value in inputs.items() if name not in frames}
    return run_sql(text, frames, params)


def show(content: bytes, outputs: list[str], kernel: str, inputs: dict[str, Any]) -> Any:
    """What a notebook writes, or itself with its outputs. What a cell that failed showed is printed."""
    with tempfile.TemporaryDirectory(prefix="ll-") as scratch:
        folder = Path(scratch)
        ran = run_notebook(content, written(folder, inputs), folder=folder, kernel=kernel)
        if ran.failure is not None:
            _print_errors(ran.notebook)
        ran.checked()
        files = {name: (folder / name).read_bytes() for name in outputs if (folder / name).is_file()}
    missing = [name for name in outputs if name not in files]
    if missing:
        raise InvalidInput(
            "notebook.no_output",
            f"the notebook ended well but did not write {', '.join(missing)}",
            remedy="Write it into the folder that it runs in, or declare what it does write.",
            failure="code",
        )
    return gathered(files, tuple(outputs)) if outputs else ran.notebook


def call(line: str | list[str], outputs: list[str], inputs: dict[str, Any]) -> Any:
    """What a command writes, or the text that it prints; what it says on standard error is printed."""
    with tempfile.TemporaryDirectory(prefix="ll-") as scratch:
        folder = Path(scratch)
        environment = {name: _text(value) for name, value in written(folder, inputs).items()}
        ran = run_command(line, folder=folder, outputs=outputs, environment=environment)
    sys.stderr.write(ran.stderr.decode(errors="replace"))
    if outputs:
        sys.stdout.write(ran.stdout.decode(errors="replace"))
    ran.checked()
    return gathered(ran.files, tuple(outputs)) if outputs else ran.stdout.decode(errors="replace")


def read(path: str, sheet: str | int, header: int, rename: dict[str, str], inputs: dict[str, Any]) -> pl.DataFrame:
    """The rows of a sheet."""
    del inputs
    return spreadsheet(path, sheet=sheet, header=header, rename=rename).rows()


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(
            "notebook.not_found",
            f"the notebook {file} cannot be read: {error.strerror}",
            remedy="Paths are taken from the folder of the file that declares the step.",
        ) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _print_errors(content: bytes) -> None:
    for cell in msgspec.json.decode(content)["cells"]:
        for output in cell.get("outputs", []):
            if output.get("output_type") == "error":
                sys.stderr.write("\n".join(output.get("traceback", [])) + "\n")
