"""Notebooks as steps: run in a real kernel."""

import json
import os
import time

import pytest

from loopline.errors import InvalidInput, Unavailable
from loopline.pipelines.kinds.notebook import run_notebook


def notebook(*cells: str, tagged: str | None = None) -> bytes:
    made = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": cell} for cell in cells
    ]
    if tagged is not None:
        made.insert(
            0,
            {
                "cell_type": "code",
                "metadata": {"tags": ["parameters"]},
                "execution_count": None,
                "outputs": [],
                "source": tagged,
            },
        )
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": made}).encode()


def printed(content: bytes) -> str:
    cells = json.loads(content)["cells"]
    return "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))


def test_params_replace_those_of_the_tagged_cell(tmp_path):
    content = notebook("print(region, top, ratios)", tagged="region = 'north'\ntop = 3\nratios = {}")
    done = run_notebook(
        content, {"region": 'it\'s "south"', "ratios": {"a": [1, None, True]}}, folder=tmp_path
    ).checked()
    assert printed(done.notebook) == "it's \"south\" 3 {'a': [1, None, True]}\n"
    assert printed(run_notebook(done.notebook, folder=tmp_path).checked().notebook) == "north 3 {}\n"


def test_without_a_tagged_cell_params_come_first_and_files_go_into_the_folder(tmp_path):
    run_notebook(notebook("open('made.txt', 'w').write(str(n))"), {"n": 7}, folder=tmp_path).checked()
    assert (tmp_path / "made.txt").read_text() == "7"


def test_a_cell_that_fails_is_named_and_what_was_shown_is_kept(tmp_path):
    done = run_notebook(notebook("print('before')", "x = 1\nx / 0", "print('after')"), {"a": 1}, folder=tmp_path)
    assert done.failed_cell == 2
    with pytest.raises(InvalidInput, match=r"cell 2 \(`x = 1`\) failed: ZeroDivisionError") as caught:
        done.checked()
    assert caught.value.code == "notebook.cell_failed"
    assert printed(done.notebook) == "before\n"
    assert "ZeroDivisionError" in done.notebook.decode()


def test_it_runs_in_a_process_of_its_own_that_is_gone_after(tmp_path):
    done = run_notebook(notebook("import os; print(os.getpid())"), folder=tmp_path).checked()
    pid = int(printed(done.notebook))
    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_time_is_for_all_cells_together(tmp_path):
    begun = time.monotonic()
    done = run_notebook(notebook("print('on')", "import time; time.sleep(600)"), folder=tmp_path, timeout=8)
    assert time.monotonic() - begun < 300
    assert isinstance(done.failure, Unavailable)
    assert done.failure.code == "notebook.timeout"
    assert done.failed_cell == 2


def test_a_kernel_that_dies_is_told(tmp_path):
    done = run_notebook(notebook("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), folder=tmp_path)
    assert done.failure is not None
    assert done.failure.code == "notebook.kernel_died"
    assert done.failed_cell == 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"nope": 1}, "notebook.unknown_param"),
        ({"a": object()}, "notebook.bad_param"),
        ({"a": float("nan")}, "notebook.bad_param"),
    ],
)
def test_params_that_cannot_be_given_are_refused(tmp_path, params, code):
    with pytest.raises(InvalidInput) as caught:
        run_notebook(notebook("a", tagged="a = 1"), params, folder=tmp_path)
    assert caught.value.code == code


def test_what_is_no_notebook_is_refused(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        run_notebook(b"print(1)", folder=tmp_path)
    assert caught.value.code == "notebook.not_a_notebook"


def test_a_kernel_that_is_not_there(tmp_path):
    with pytest.raises(Unavailable) as caught:
        run_notebook(notebook("1"), folder=tmp_path, kernel="nonsuch")
    assert caught.value.code == "notebook.no_kernel"
