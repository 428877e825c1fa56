"""What is adopted gives what the notebook or script gives from top to bottom: values and files, also when steps share nothing
and when the engine runs them."""

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from loopline.app.adopting.adopt import adopt

_spec = spec_from_file_location("adopted", Path(__file__).parent / "adopted.py")
adopted_runs = module_from_spec(_spec)
_spec.loader.exec_module(adopted_runs)
CORPUS, run_adopted, run_original = adopted_runs.CORPUS, adopted_runs.run_adopted, adopted_runs.run_original
run_engine = adopted_runs.run_engine
source_file, write_data = adopted_runs.source_file, adopted_runs.write_data

pytestmark = pytest.mark.filterwarnings("default")  # user code warns as it likes

# name: results that must be among those of the pipeline, the least number of steps
CASES: dict[str, tuple[set[str], int]] = {
    "sales_report": ({"summary", "best"}, 3),
    "churn": ({"metrics", "importance", "picture"}, 3),
    "polars_join": ({"by_region", "average"}, 3),
    "messy": ({"table"}, 2),
    "argparse_train": ({"error"}, 3),
    "global_state": ({"totals"}, 2),
    "random_stream": ({"slope", "low", "high", "lucky"}, 1),
    "star": ({"i"}, 2),
    "closures": ({"text"}, 2),
    "statsmodels_ols": ({"coefficients", "r2"}, 2),
    "query_names": ({"n_dear"}, 4),
    "pipeline_sklearn": ({"scores", "best_score"}, 2),
    "overwrite": ({"b", "m"}, 1),
    "percent_cells": ({"table", "revenue"}, 4),
    "subplots": ({"area", "picture"}, 3),
    "dataclass_cells": ({"top", "names"}, 1),
    "shell": ({"lines", "rows"}, 1),
    "aliases": ({"row_sum", "z_sum", "price_sum", "length", "columns"}, 2),
    "rebind": ({"more", "query"}, 2),
    "config": ({"sales", "result"}, 2),
    "database": ({"df", "best"}, 2),
    "folders": ({"sales", "n_rows", "both", "text"}, 1),
    "custom_transformer": ({"results", "residuals"}, 2),
    "generators": ({"code", "squares"}, 2),
}


def test_every_case_of_the_corpus_is_looked_at():
    assert {path.stem for path in CORPUS.iterdir()} == CASES.keys()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.heavy] * (place % 5 > 0)) for place, name in enumerate(CASES)],
)
def test_the_pipeline_gives_what_the_original_gives(name, tmp_path, monkeypatch):
    folders = [tmp_path / kind for kind in ("original", "together", "apart", "engine")]
    for folder in folders:
        folder.mkdir()
        write_data(folder)
    source = source_file(name, tmp_path)
    adopted = adopt(source)
    assert not adopted.blocked, adopted.findings
    wanted, least = CASES[name]
    assert wanted <= set(adopted.results)
    assert len(adopted.steps) >= least
    file = tmp_path / f"made_{name}.py"  # workers import it by its name
    file.write_text(adopted.text)

    monkeypatch.chdir(folders[0])
    original = run_original(source, [one for one in adopted.results if not one.startswith("picture")])
    for folder in folders[1:]:
        monkeypatch.chdir(folder)
        if folder.name == "engine":
            returned = run_engine(file, adopted.pipeline, tmp_path / "home")
        else:
            returned = run_adopted(file, adopted.pipeline, apart=folder.name == "apart")
        results = dict(zip(adopted.results, returned if len(adopted.results) > 1 else [returned], strict=True))
        for result, value in results.items():
            if result.startswith("picture"):
                assert value.startswith(b"\x89PNG")
            else:
                assert_same(value, original[result])
        assert files(folder) == files(folders[0])
    shutil.rmtree(tmp_path)


def assert_same(value: Any, expected: Any) -> None:
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(value, expected, check_exact=True)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(value, expected, check_exact=True)
    elif isinstance(expected, pl.DataFrame):
        assert value.equals(expected, null_equal=True)
        assert value.schema == expected.schema
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(value, expected)
    else:
        assert value == expected


def files(folder: Path) -> dict[str, bytes]:
    """What was written, by its path: all but notebooks' own leavings."""
    found = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
