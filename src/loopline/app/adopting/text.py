"""The pipeline file as text: imports, what stands in it as it is, steps, the pipeline."""

import ast
import builtins
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

from loopline.app.adopting.edits import shifted
from loopline.app.adopting.guess import MEASURED
from loopline.app.adopting.params import Param, all_names, fresh, plain_name
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.steps import Step, Steps
from loopline.app.adopting.study import Study

_MODULES = {"pd": "pandas", "pl": "polars", "np": "numpy"}
_MARK = re.compile(r"^#+\s*(%%.*|[-=*#~]{3,}.*|In ?\[[ \d]*\]:?)$")
_RULE = re.compile(r"^#[\s\-=*#~]*$")

_DRAWN = '''def drawn() -> bytes:
    """The current figure as PNG; it is closed."""
    file = io.BytesIO()
    {plt}.savefig(file, format="png")
    {plt}.close()
    return file.getvalue()
'''


class Text:
    """Writes the file of a study and its steps."""

    def __init__(self, study: Study, steps: Steps, params: list[Param], *, pictures: bool) -> None:
        self._study, self._steps, self._params, self._pictures = study, steps, params, pictures
        self._lines = study.source.text.split("\n")
        self._imports: dict[str, None] = {}
        self._taken = all_names(study.tree) | {param.name for param in params} | {step.name for step in steps.steps}
        self.pipeline_name = fresh(plain_name(study.source.path.stem), self._taken, "pipeline")

    def written(self) -> str:
        """The whole file, formatted where a formatter is installed."""
        steps = [self._step(step) for step in self._steps.steps]
        pipeline = self._pipeline()
        top = self._top()
        imports = self._import_block("\n".join([*top, *steps, pipeline]))
        parts = [self._docstring(), imports, *top, *steps, pipeline]
        return formatted("\n\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n")

    def _docstring(self) -> str:
        told = ast.get_docstring(self._study.tree)
        source = self._study.source
        working = {one.cell for step in self._steps.steps for one in step.work}
        prose = [_plain(cell.prose) for cell in source.cells if cell.number not in working and source.notebook]
        first = f"The pipeline of {source.path.name}."
        return quoted("\n\n".join(text for text in (told or "", first, *prose, _plain(source.closing)) if text))

    def _of_role(self, *roles: str) -> list[Statement]:
        return [one for one in self._study.statements if one.role in roles]

    def _import_block(self, rest: str) -> str:
        """Imports as they stood, each once; those that only read arguments go."""
        texts = dict.fromkeys(self._slice(one) for one in self._of_role("import") if not self._is_idle(one, rest))
        future = [text for text in texts if "from __future__" in text]
        mine = [text for text in self._imports if text not in "\n".join(texts).split("\n")]
        others = [text for text in texts if text not in future]
        return "\n".join([*future, *sorted(mine), *others, "\nimport loopline as ll"]).replace("\n\n\n", "\n\n")

    def _is_idle(self, one: Statement, rest: str) -> bool:
        names = one.binds
        return (
            bool(names)
            and names <= {"argparse", "sys", "os"}
            and not any(re.search(rf"\b{name}\b", rest) for name in names)
        )

    def _top(self) -> list[str]:
        made = []
        if self._pictures:
            plt = next((name for name, module in self._study.aliases.items() if module == "matplotlib.pyplot"), "plt")
            self._imports |= {"import io": None}
            if plt not in self._study.aliases:
                self._imports |= {"import matplotlib.pyplot as plt": None}
            made = [f'{plt}.switch_backend("Agg")', _DRAWN.format(plt=plt)]
        run: list[str] = []
        for one in self._of_role("top"):
            if isinstance(one.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                made += ["\n".join(run), self._slice(one)] if run else [self._slice(one)]
                run = []
            else:
                run.append(self._slice(one))
        return [*made, "\n".join(run)]

    def _slice(self, one: Statement) -> str:
        """A statement's own lines, with the comments above it."""
        lines = self._lines[one.first - 1 : one.last]
        above = one.node.lineno - one.first
        kept = [
            line
            for number, line in enumerate(lines)
            if number >= above or (line.strip() and not _MARK.match(line) and not _RULE.match(line))
        ]
        text = "\n".join(kept).rstrip()
        if isinstance(one.node, (ast.Expr, ast.Assign, ast.AugAssign)) and text.endswith(";"):
            text = text.rstrip("; ")
        return re.sub(r"\bdisplay\(", "print(", text) if "display" not in self._study.aliases else text

    def _step(self, step: Step) -> str:
        options = [*(["retries=3"] if step.retries else []), *([] if step.reuse else ["reuse=False"])]
        decorator = f"@ll.step({', '.join(options)})" if options else "@ll.step"
        arguments = ", ".join(f"{name}: {self._annotation(kind)}" for name, kind in step.inputs.items())
        kinds = [self._annotation(kind) for kind in step.outputs.values()]
        returned = "None" if not kinds else kinds[0] if len(kinds) == 1 else f"tuple[{', '.join(kinds)}]"
        body = [quoted(self._told(step)), *(f"{name} = None" for name in step.begin)]
        body += [self._inside(one) for one in step.body]
        values = ", ".join(_crossing(name, kind) for name, kind in step.outputs.items())
        body += [f"return {values}"] if values else []
        text = shifted("\n".join(body), 4)
        return f"{decorator}\ndef {step.name}({arguments}) -> {returned}:\n{text}"

    def _inside(self, one: Statement) -> str:
        text = self._slice(one)
        if one.role == "define":
            text = re.sub(r"^(\s+)global ", r"\1nonlocal ", text, flags=re.MULTILINE)
        return text

    def _told(self, step: Step) -> str:
        """What was written above the cells, and where the code stood."""
        source = self._study.source
        cells = list(dict.fromkeys(one.cell for one in step.work))
        prose = [_plain(source.cells[cell - 1].prose) for cell in cells]
        first, last = step.work[0], step.work[-1]
        if source.notebook:
            whole = cells == list(range(cells[0], cells[-1] + 1))
            several = f"Cells {cells[0]} to {cells[-1]}" if whole else f"Cells {', '.join(map(str, cells))}"
            where = f"Cell {cells[0]}" if len(cells) == 1 else several
        else:
            one, other = source.place(first.node.lineno)[1], source.place(last.node.end_lineno or last.last)[1]
            where = f"Line {one}" if one == other else f"Lines {one} to {other}"
        return "\n\n".join([*(text for text in dict.fromkeys(prose) if text), f"{where} of {source.path.name}."])

    def _annotation(self, kind: str) -> str:
        made = kind.replace(MEASURED, "float")
        for short, module in _MODULES.items():
            if f"{short}." in made:
                name = next((alias for alias, full in self._study.aliases.items() if full == module), short)
                if name not in self._study.aliases:
                    self._imports[f"import {module} as {short}"] = None
                made = made.replace(f"{short}.", f"{name}.")
        return made

    def _pipeline(self) -> str:
        ordered = sorted(self._params, key=lambda param: bool(param.default))
        used = {name for step in self._steps.steps for name in step.inputs}
        ordered = [param for param in ordered if param.name in used or not param.default]
        arguments = "".join(
            f"    {param.name}: {param.annotation}{f' = {param.default}' if param.default else ''},{_aside(param)}\n"
            for param in ordered
        )
        head = (
            f"@ll.pipeline\ndef {self.pipeline_name}(\n{arguments})"
            if arguments
            else f"@ll.pipeline\ndef {self.pipeline_name}()"
        )
        results = {
            name: kind
            for name, kind in self._steps.results.items()
            if any(name in step.outputs for step in self._steps.steps)
        }
        body = [quoted(f"What {self._study.source.path.name} does, step by step.")]
        for step in self._steps.steps:
            given = f"{', '.join(step.outputs)} = " if step.outputs else ""
            body.append(f"{given}{step.name}({', '.join(step.inputs)})")
        body += [f"return {', '.join(results)}"] if results else []
        kinds = [self._annotation(kind) for kind in results.values()]
        returned = "None" if not kinds else kinds[0] if len(kinds) == 1 else f"tuple[{', '.join(kinds)}]"
        return f"{head} -> {returned}:\n" + shifted("\n".join(body), 4)


def _aside(param: Param) -> str:
    return f"  # {param.told}" if param.told and "\n" not in param.told else ""


def _crossing(name: str, kind: str) -> str:
    """A numpy number becomes a plain one, since only those can be kept without pickle."""
    if kind == MEASURED:
        return f"float({name})"
    return f"{{key: float(value) for key, value in {name}.items()}}" if kind == f"dict[str, {MEASURED}]" else name


def _plain(prose: str) -> str:
    """Markdown as a docstring reads it: headings without signs."""
    return re.sub(r"^#+\s*", "", prose, flags=re.MULTILINE).strip()


def quoted(text: str) -> str:
    """A docstring of the text."""
    safe = text.replace('"""', "'''").rstrip("\\")
    sign = "r" if "\\" in safe else ""
    return f'{sign}"""{safe}"""' if "\n" not in safe and not safe.endswith('"') else f'{sign}"""{safe}\n"""'


def formatted(text: str) -> str:
    """The text as ruff formats it, if it is installed; else as it is."""
    program = (
        [sys.executable, "-m", "ruff"]
        if find_spec("ruff") is not None
        else [found]
        if (found := shutil.which("ruff"))
        else None
    )
    if program is None:
        return text
    done = subprocess.run(  # noqa: S603 - a formatter, given text
        [*program, "format", "--isolated", "--line-length", "100", "--stdin-filename", "pipeline.py", "-"],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else text


def has_formatter() -> bool:
    """Whether what is written can be formatted here."""
    return find_spec("ruff") is not None or shutil.which("ruff") is not None


BUILTINS = set(dir(builtins))
