"""A notebook as a step: run with params in a kernel process of its own; what it showed is kept, also when a cell fails."""

import ast
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from loopline.errors import InvalidInput, LooplineError, Unavailable
from loopline.runs.secrets import masked_text

_TAG, _INJECTED = "parameters", "injected-parameters"
_LONGEST = 500


@dataclass(frozen=True)
class NotebookRun:
    """A notebook that was run: `notebook` is the JSON of it with all its outputs; `failure` is None where all is well.

    `failed_cell` counts code cells from 1.
    """

    notebook: bytes
    seconds: float
    failed_cell: int | None = None
    failure: LooplineError | None = None

    def checked(self) -> "NotebookRun":
        """Itself, if it did not fail; raises its `failure` otherwise."""
        if self.failure is not None:
            raise self.failure
        return self


def run_notebook(
    content: bytes,
    params: Mapping[str, Any] | None = None,
    *,
    folder: Path,
    timeout: float | None = None,
    kernel: str = "python3",
) -> NotebookRun:
    """Run the cells of a notebook from the top in `folder`, in a new kernel of this Python, which ends with it.

    `params` (what JSON can hold) are assigned in a cell after the one tagged `parameters`, or before all others; where there is such a
    cell it must name them. `timeout` is for all cells together, in seconds. Needs the extra `notebook`.

    Raises `InvalidInput` for what is no notebook and for params that cannot be given, `Unavailable` without the extra or the kernel;
    `failure` is `notebook.cell_failed`, `notebook.timeout` or `notebook.kernel_died`.
    """
    nbclient, nbformat, client = _libraries()
    notebook = _read(nbformat, content)
    _inject(nbformat, notebook, params or {})
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ll-") as scratch:
        manager = _manager(client, kernel, Path(scratch))
        runner = nbclient.NotebookClient(
            notebook,
            km=manager,
            kernel_name=kernel,
            timeout_func=lambda _cell: None if timeout is None else max(0.1, begun + timeout - time.monotonic()),
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
        )
        runner.owns_km = True  # it ends with the run, whatever comes
        cell, failure = _executed(nbclient, runner, notebook, timeout)
    return NotebookRun(nbformat.writes(notebook).encode(), time.monotonic() - begun, cell, failure)


def _libraries() -> tuple[Any, Any, Any]:
    try:
        return import_module("nbclient"), import_module("nbformat"), import_module("jupyter_client.manager")
    except ImportError as problem:
        raise Unavailable(
            "notebook.not_installed",
            "running notebooks needs nbclient and ipykernel",
            remedy="pip install 'loopline[notebook]'",
        ) from problem


def _manager(client: Any, kernel: str, scratch: Path) -> Any:
    """A kernel that is spoken to through sockets in a folder that is ours alone, not through ports of the machine."""
    manager = client.AsyncKernelManager(kernel_name=kernel, transport="ipc", connection_file=str(scratch / "k.json"))
    try:
        _ = manager.kernel_spec
    except Exception as problem:  # NoSuchKernel, of a library that may be missing
        raise Unavailable(
            "notebook.no_kernel", f"there is no kernel {kernel!r}", remedy="Install it; `python3` comes with ipykernel."
        ) from problem
    return manager


def _read(nbformat: Any, content: bytes) -> Any:
    try:
        return nbformat.reads(content.decode(), as_version=4)
    except Exception as problem:  # whatever the reader makes of other bytes
        raise InvalidInput(
            "notebook.not_a_notebook", "this is no notebook", remedy="Give the bytes of an .ipynb file."
        ) from problem


def _inject(nbformat: Any, notebook: Any, params: Mapping[str, Any]) -> None:
    places = [place for place, cell in enumerate(notebook.cells) if _TAG in cell.metadata.get("tags", [])]
    notebook.cells = [cell for cell in notebook.cells if _INJECTED not in cell.metadata.get("tags", [])]
    if not params:
        return
    if places:
        known = _assigned(notebook.cells[places[0]].source)
        if unknown := sorted(params.keys() - known):
            raise InvalidInput(
                "notebook.unknown_param",
                f"the notebook has no param {unknown[0]!r}; it has {', '.join(sorted(known))}",
                remedy="Name it in the cell tagged `parameters`.",
            )
    lines = [f"{name} = {_literal(name, value)}" for name, value in params.items()]
    cell = nbformat.v4.new_code_cell("\n".join(["# Params of this execution", *lines]), metadata={"tags": [_INJECTED]})
    notebook.cells.insert(places[0] + 1 if places else 0, cell)


def _assigned(source: str) -> set[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return set()
    targets = [one for node in body if isinstance(node, (ast.Assign, ast.AnnAssign)) for one in ast.walk(node)]
    return {one.id for one in targets if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _literal(name: str, value: Any) -> str:
    try:
        plain = json.loads(json.dumps(value))
    except (TypeError, ValueError):
        plain = None
    if not name.isidentifier() or (plain is None and value is not None) or value != value:  # noqa: PLR0124 - NaN has no literal
        raise InvalidInput(
            "notebook.bad_param",
            f"the param {name!r} cannot be written into a cell",
            remedy="Give text, numbers, truths, lists or dicts of them.",
        )
    return repr(plain)


def _executed(
    nbclient: Any, runner: Any, notebook: Any, timeout: float | None
) -> tuple[int | None, LooplineError | None]:
    errors = nbclient.exceptions
    begun: list[Any] = []
    runner.on_cell_start = lambda cell, cell_index: begun.append(cell)  # noqa: ARG005 - the names are nbclient's
    try:
        runner.execute()
    except errors.CellExecutionError as problem:
        number, line = _failed_cell(notebook)
        first = f"{problem.ename}: {problem.evalue}"[:_LONGEST]
        return number, InvalidInput(
            "notebook.cell_failed",
            f"cell {number} (`{line}`) failed: {masked_text(first)}",
            remedy="The output notebook has its traceback.",
            cell=number,
            failure="code",
        )
    except errors.CellTimeoutError:
        number = _place(notebook, begun)
        return number, Unavailable(
            "notebook.timeout", f"the notebook did not end within {timeout:g} seconds; it was ended in cell {number}", remedy="Give it more time, or less to do.",
            cell=number, failure="timeout",
        )  # fmt: skip
    except errors.DeadKernelError:
        number = _place(notebook, begun)
        return number, Unavailable(
            "notebook.kernel_died", f"the kernel died in cell {number}", remedy="Mostly memory ran out.", cell=number, failure="capacity"
        )  # fmt: skip
    return None, None


def _code(notebook: Any) -> list[Any]:
    """Code cells as its author counts them: without the one of the params."""
    return [
        cell for cell in notebook.cells if cell.cell_type == "code" and _INJECTED not in cell.metadata.get("tags", [])
    ]


def _failed_cell(notebook: Any) -> tuple[int, str]:
    for number, cell in enumerate(_code(notebook), 1):
        if any(output.output_type == "error" for output in cell.outputs):
            return number, next((line for line in cell.source.splitlines() if line.strip()), "")[:80]
    return 0, "params"


def _place(notebook: Any, begun: list[Any]) -> int:
    """The number of the code cell that was begun last."""
    return next((number for number, cell in enumerate(_code(notebook), 1) if begun and cell is begun[-1]), 0)
