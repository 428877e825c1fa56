"""Runs what was adopted and what it was adopted from, for tests: notebooks in a real kernel, scripts as they are, steps by a stand-in."""

import io
import json
import pickle
import re
import runpy
import sys
from collections.abc import Callable
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import numpy as np
import pandas as pd
import polars as pl
from nbclient import NotebookClient
from nbformat import read, v4

import loopline
from loopline.config import Settings
from loopline.pipelines import reading
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.load import load_pipeline
from loopline.pipelines.pandas_frames import decode_pandas, encode_pandas

CORPUS = Path(__file__).parent / "adopt" / "corpus"
_CELL = re.compile(r"^# %%(?: \[(markdown|\d+)\])?\n", re.MULTILINE)


def write_data(folder: Path) -> None:
    """Sales and customers, with gaps."""
    rng = np.random.default_rng(11)
    n = 120
    (folder / "data").mkdir()
    pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=n, freq="6h").strftime("%Y-%m-%d"),
            "region": rng.choice(["north", "south", "west"], n),
            "customer": [f"c{number}" for number in rng.integers(0, 30, n)],
            "pieces": rng.integers(1, 9, n),
            "price": np.where(rng.random(n) < 0.05, np.nan, rng.gamma(4, 1, n).round(2)),
        }
    ).to_csv(folder / "data" / "sales.csv", index=False)
    age = rng.integers(18, 80, n)
    pd.DataFrame(
        {
            "customer": [f"c{number}" for number in range(n)],
            "name": [f"Person {number}" for number in range(n)],
            "age": age,
            "income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40_000, 9_000, n).round()),
            "plan": rng.choice(["free", "plus"], n),
            "left": (rng.random(n) < 1 / (1 + np.exp((age - 45) / 10))).astype(int),
        }
    ).drop(columns=["customer"]).assign(customer=range(n)).pipe(
        lambda frame: frame.assign(customer=[f"c{number}" for number in frame["customer"]])
    ).to_csv(folder / "data" / "customers.csv", index=False)


def source_file(name: str, folder: Path) -> Path:
    """The script, or the notebook made of its cells."""
    if (script := CORPUS / f"{name}.script").exists():
        made = folder / f"{name}.py"
        made.write_text(script.read_text())
        return made
    made = folder / f"{name}.ipynb"
    made.write_text(json.dumps(notebook((CORPUS / f"{name}.notebook").read_text())))
    return made


def notebook(text: str) -> dict[str, Any]:
    """A notebook of cells: `# %% [markdown]`, `# %% [3]` with the execution count."""
    parts = _CELL.split(text)
    cells: list[dict[str, Any]] = []
    for mark, content in zip(parts[1::2], parts[2::2], strict=True):
        told = content.strip("\n")
        if mark == "markdown":
            prose = re.sub(r"^# ?", "", told, flags=re.MULTILINE)
            cells.append({"cell_type": "markdown", "metadata": {}, "source": prose.splitlines(keepends=True)})
        else:
            count = int(mark) if mark else None
            cells.append(
                {
                    "cell_type": "code",
                    "metadata": {},
                    "execution_count": count,
                    "outputs": [],
                    "source": told.splitlines(keepends=True),
                }
            )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": cells}


def run_original(path: Path, names: list[str]) -> dict[str, Any]:
    """The values that these names have when all is run from top to bottom, in the working folder."""
    return _run_notebook(path, names) if path.suffix == ".ipynb" else _run_script(path, names)


def _run_script(path: Path, names: list[str]) -> dict[str, Any]:
    """Of a script the names of the module, and those of `main()` when it returned."""
    local: dict[str, Any] = {}

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code.co_name == "main" and frame.f_code.co_filename == str(path):
            local.update(frame.f_locals)

    before = sys.argv
    sys.argv = [str(path)]
    sys.setprofile(watch)
    try:
        found = runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
        found = {}
    finally:
        sys.setprofile(None)
        sys.argv = before
    found = {**found, **local}
    return {name: found[name] for name in names}


def _run_notebook(path: Path, names: list[str]) -> dict[str, Any]:
    content = read(path, as_version=4)
    kept = ", ".join(f"{name!r}: {name}" for name in names)
    content.cells.append(
        v4.new_code_cell(f"import pickle as _p\nwith open('.kept', 'wb') as _f: _p.dump({{{kept}}}, _f)")
    )
    NotebookClient(content, timeout=120, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
    kept_file = Path(".kept")
    found = pickle.loads(kept_file.read_bytes())
    kept_file.unlink()
    return dict(found)


def run_adopted(path: Path, name: str, *, apart: bool, **given: Any) -> Any:
    """What the pipeline function returns; `apart` lets values cross between steps as bytes only, as between processes."""
    loopline.step = _step(apart=apart)  # type: ignore[attr-defined]
    loopline.pipeline = lambda function: function  # type: ignore[attr-defined]
    try:
        return runpy.run_path(str(path))[name](**given)
    finally:
        del loopline.step, loopline.pipeline  # type: ignore[attr-defined]


def run_engine(path: Path, name: str, home: Path) -> Any:
    """What an execution of the pipeline gives, in this process, in a home of its own; an error is that of the step that failed."""
    pipeline = load_pipeline(f"{path}:{name}")
    with closing(PipelineHome(Settings.read(home))) as opened:
        execution = opened.run(pipeline, {})
        with opened.database.reading() as tx:
            failed = reading.failures_of(tx, execution)
            assert not failed, [(step, error.message, error.trace) for step, error in failed]
            return reading.result_of(tx, execution, opened.engine.artifacts, pipeline.hints.get("return"))


def _step(*, apart: bool) -> Callable[..., Any]:
    def step(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        assert options.keys() <= {"reuse", "retries"}
        return (lambda one: _wrapped(one, apart=apart)) if function is None else _wrapped(function, apart=apart)

    return step


def _wrapped(function: Callable[..., Any], *, apart: bool) -> Callable[..., Any]:
    hints = get_type_hints(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        if not apart:
            return function(*arguments)
        names = list(hints)[: len(arguments)]
        made = function(*(crossed(one, hints[name]) for one, name in zip(arguments, names, strict=True)))
        returned = hints["return"]
        if getattr(returned, "__origin__", None) is tuple:
            return tuple(crossed(one, kind) for one, kind in zip(made, returned.__args__, strict=True))
        return crossed(made, returned)

    return call


def crossed(value: Any, kind: Any) -> Any:
    """The value as it comes out of the store: bytes between, never pickle; it must be of the kind that the step says."""
    if kind is type(None):
        assert value is None
        return None
    if isinstance(value, (pd.DataFrame, pd.Series)):
        assert isinstance(value, kind)
        return decode_pandas(encode_pandas(value))
    if isinstance(value, pl.DataFrame):
        assert kind is pl.DataFrame
        file = io.BytesIO()
        value.write_parquet(file)
        return pl.read_parquet(io.BytesIO(file.getvalue()))
    if isinstance(value, np.ndarray):
        assert kind is np.ndarray
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return np.load(io.BytesIO(file.getvalue()), allow_pickle=False)
    return (
        value
        if isinstance(value, bytes) and kind is bytes
        else msgspec.json.decode(msgspec.json.encode(value), type=kind)
    )
