"""A notebook or a script becomes a pipeline file: its code is read, never run."""

import ast
from pathlib import Path

import msgspec

from loopline.app.adopting.arguments import take_arguments
from loopline.app.adopting.entry import unfold
from loopline.app.adopting.finding import Finding, in_order
from loopline.app.adopting.groups import Groups
from loopline.app.adopting.leaks import look_for_leaks
from loopline.app.adopting.lift import lift
from loopline.app.adopting.look import look, look_at_steps
from loopline.app.adopting.params import Param, note_required
from loopline.app.adopting.pictures import keep_pictures
from loopline.app.adopting.secrets import withhold
from loopline.app.adopting.source import Source, read_source
from loopline.app.adopting.steps import Step, Steps
from loopline.app.adopting.study import Study
from loopline.app.adopting.text import Text, has_formatter


class AdoptedParam(msgspec.Struct, frozen=True):
    """A param of the pipeline: its annotation, and its default as code, None if it must be given."""

    name: str
    annotation: str
    default: str | None


class AdoptedStep(msgspec.Struct, frozen=True):
    """A step: what it takes and gives back by name, the files it reads and writes (`*` for what the code does not tell)."""

    name: str
    cells: list[int]
    inputs: list[str]
    outputs: list[str]
    reads: list[str]
    writes: list[str]
    reuse: bool


class Adopted(msgspec.Struct, frozen=True):
    """What became of a notebook or a script. `text` is the pipeline file; empty if something blocks."""

    source: str
    pipeline: str
    text: str
    params: list[AdoptedParam]
    steps: list[AdoptedStep]
    results: list[str]
    findings: list[Finding]

    @property
    def blocked(self) -> bool:
        """Whether no file could be made."""
        return any(one.weight == "blocks" for one in self.findings)


def adopt(path: Path) -> Adopted:
    """Read a notebook or a script and make a pipeline of it. What cannot be decided is among the findings.

    Raises `NotFound`, and `InvalidInput` for what is neither.
    """
    source = read_source(path)
    if not source.blocked and _parses(source):
        return _adopted(source)
    return Adopted(str(path), "", "", [], [], [], in_order(source.findings))


def _parses(source: Source) -> bool:
    try:
        compile(source.text, str(source.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        ast.parse(source.text)
    except SyntaxError as problem:
        source.find(
            problem.lineno or 1,
            "code.syntax",
            "blocks",
            f"this is not Python: {problem.msg}",
            "Mend it, or make the cell raw.",
        )
        return False
    except ValueError as problem:
        source.find(1, "code.syntax", "blocks", f"this is not Python: {problem}", "Mend it.")
        return False
    return True


def _adopted(source: Source) -> Adopted:
    withhold(source)
    source.require("os", "os.environ[")
    source.require("subprocess", "subprocess.run(")
    unfold(source)
    params = take_arguments(source)
    study = Study(source, params)
    look(source, study)
    look_for_leaks(source, study)
    if source.blocked:
        return Adopted(str(source.path), "", "", [], [], [], in_order(source.findings))
    params = [*params, *lift(source, study)]
    note_required(source, params)
    pictures = keep_pictures(source, Study(source, params))
    study = Study(source, params)
    study.keep_constants()
    groups = Groups(study)
    steps = Steps(study, groups)
    look_at_steps(source, groups, steps)
    writing = Text(study, steps, params, pictures=pictures)
    text = writing.written()
    if not has_formatter():
        source.find(
            1,
            "file.not_formatted",
            "note",
            "the file is not formatted: ruff is not installed",
            "pip install 'loopline[adopt]'",
        )
    _check_written(source, text)
    return Adopted(
        str(source.path), writing.pipeline_name, text, [_param(one) for one in params], [_step(one, groups) for one in steps.steps],
        list(steps.results), in_order(source.findings),
    )  # fmt: skip


def _check_written(source: Source, text: str) -> None:
    try:
        compile(text, "pipeline.py", "exec", dont_inherit=True)
    except SyntaxError as problem:
        source.find(
            1,
            "file.not_python",
            "blocks",
            f"what was written does not parse ({problem.msg}, line {problem.lineno})",
            "Tell us, with the source.",
        )


def _param(param: Param) -> AdoptedParam:
    return AdoptedParam(param.name, param.annotation, param.default or None)


def _step(step: Step, groups: Groups) -> AdoptedStep:
    def paths(deed: str) -> list[str]:
        return list(
            dict.fromkeys(
                groups.path(effect.path) for one in step.work for effect in one.effects if effect.deed == deed
            )
        )

    cells = list(dict.fromkeys(one.cell for one in step.work))
    return AdoptedStep(
        step.name, cells, list(step.inputs), list(step.outputs), paths("read"), paths("write"), step.reuse
    )
