"""Notebooks and scripts as one text of Python that knows where each of its lines came from."""

import ast
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopline.app.adopting.finding import Finding, Weight
from loopline.app.adopting.magics import plain
from loopline.errors import InvalidInput, NotFound

_MARK = re.compile(r"^# ?%%(.*)$")


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook or a marked part of a script: its number from 1, what was written above it, when it was executed."""

    number: int
    prose: str = ""
    count: int | None = None


@dataclass
class Source:
    """The text; of each of its lines the cell and the line there; what was found so far; what is written below the last cell."""

    path: Path
    text: str
    notebook: bool
    cells: list[Cell]
    places: list[tuple[int, int]]
    findings: list[Finding] = field(default_factory=list)
    closing: str = ""

    def find(self, line: int, kind: str, weight: Weight, what: str, do: str) -> None:
        """Note something at a line of the text, counted from 1."""
        cell, there = self.place(line)
        self.findings.append(Finding(kind, weight, cell if self.notebook else None, there, what, do))

    def place(self, line: int) -> tuple[int, int]:
        """The cell and the line in it (or in the script) of a line of the text."""
        return self.places[min(max(line, 1), len(self.places)) - 1] if self.places else (1, 1)

    def cell(self, line: int) -> Cell:
        """The cell that a line of the text is of."""
        return self.cells[self.place(line)[0] - 1]

    def require(self, module: str, sign: str) -> None:
        """Import a module at the top, if the sign of its use stands in the text and nothing imports it."""
        tree = ast.parse(self.text)
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        if sign in self.text and module not in imported:
            first: list[ast.stmt] = [node for node in tree.body[:1] if isinstance(node, ast.Expr)]
            first += [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
            at = max((node.end_lineno or 0 for node in first), default=0)
            lines = self.text.split("\n")
            self.text = "\n".join([*lines[:at], f"import {module}", *lines[at:]])
            self.places.insert(at, self.place(at))

    @property
    def blocked(self) -> bool:
        """Whether something was found that no pipeline can be written with."""
        return any(one.weight == "blocks" for one in self.findings)


def read_source(path: Path) -> Source:
    """Read a notebook (`.ipynb`, format 4) or a script. Raises `NotFound`, and `InvalidInput` for what is neither."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFound("adopt.no_file", f"there is no file {path}", remedy="Give a notebook or a script.") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            "adopt.unreadable",
            f"{path} cannot be read as text: {problem}",
            remedy="Give a notebook or a Python script.",
        ) from problem
    return _notebook(path, text) if path.suffix == ".ipynb" else _script(path, text)


def _script(path: Path, text: str) -> Source:
    lines = text.replace("\r\n", "\n").split("\n")
    cells, places = [Cell(1)], []
    for number, line in enumerate(lines, 1):
        if mark := _MARK.match(line):
            title = mark[1].strip(" -[]")
            cells.append(Cell(len(cells) + 1, f"# {title}" if title else ""))
        places.append((len(cells), number))
    made, found = plain("\n".join(lines))
    source = Source(path, made + "\n", notebook=False, cells=cells, places=places)
    for line_number, kind, weight, what, do in found:
        source.find(line_number, kind, weight, what, do)
    return source


def _notebook(path: Path, text: str) -> Source:
    content = _decoded(path, text)
    source = Source(path, "", notebook=True, cells=[], places=[])
    lines: list[str] = []
    prose: list[str] = []
    for cell in content["cells"]:
        told = _joined(cell.get("source", ""))
        if cell.get("cell_type") == "markdown":
            prose.append(told)
        elif cell.get("cell_type") == "code":
            made, found = plain(told)
            source.cells.append(Cell(len(source.cells) + 1, "\n\n".join(prose), cell.get("execution_count")))
            source.places += [(len(source.cells), line) for line in range(1, made.count("\n") + 3)]
            start, prose = len(lines), []
            lines += [*made.split("\n"), ""]
            for line, kind, weight, what, do in found:
                source.find(start + line, kind, weight, what, do)
    source.text = "\n".join(lines)
    source.closing = "\n\n".join(prose)
    _check_order(source)
    return source


def _decoded(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
        version, cells = content["nbformat"], content.get("cells")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(
            "adopt.not_a_notebook",
            f"{path} is no notebook: it is not the JSON of one",
            remedy="Save it again in Jupyter.",
        ) from None
    if version != 4 or not isinstance(cells, list):  # noqa: PLR2004 - the format since 2014
        raise InvalidInput(
            "adopt.old_notebook",
            f"{path} has notebook format {version}; format 4 is read",
            remedy="Convert it: jupyter nbconvert --to notebook --nbformat 4 FILE",
        )
    metadata = content.get("metadata", {})
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language", "python")
    if language.lower() not in {"python", "python3", "ipython"}:
        raise InvalidInput(
            "adopt.not_python",
            f"{path} is written in {language}; only Python is read",
            remedy="Run it as a notebook step or a shell step instead.",
        )
    return dict(content)


def _joined(source: Any) -> str:
    return "".join(source) if isinstance(source, list) else str(source)


def _check_order(source: Source) -> None:
    """Cells that were last executed in another order than they stand in."""
    executed = [(cell.count, cell.number) for cell in source.cells if cell.count is not None]
    falls = [(before, after) for before, after in itertools.pairwise(executed) if after[0] < before[0]]
    for (count, _), (later, number) in falls:
        source.findings.append(
            Finding(
                "order.executed_otherwise",
                "decide",
                number,
                1,
                f"it was executed as [{later}], before the cell above it ([{count}]): what the notebook shows may not come from top to bottom",
                "Run all cells from the top once and see that the results are those you trust; the pipeline goes from top to bottom.",
            )
        )
