"""Constants, paths and seeds that stand in the code become params of the pipeline."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from loopline.app.adopting.calls import calls, keyword
from loopline.app.adopting.edits import Edit, edited
from loopline.app.adopting.effects import remote
from loopline.app.adopting.params import Param, all_names, fresh, plain_name
from loopline.app.adopting.source import Source
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.study import Study

_LONGEST = 120
_SEEDED = {"random_state", "seed", "random_seed"}
_SEEDS = {
    "numpy.random.seed",
    "numpy.random.default_rng",
    "random.seed",
    "numpy.random.RandomState",
    "random.Random",
    "torch.manual_seed",
}


def lift(source: Source, study: Study) -> list[Param]:
    """The params that were found; the text then speaks of them by name."""
    taken = all_names(study.tree) | {param.name for param in study.params}
    constants, edits = _constants(study, taken)
    found: dict[str, Param] = {param.default: param for param in constants}
    paths = list(_paths(study))
    for node, line in paths:
        code = repr(node.value)
        if code not in found:
            found[code] = Param(
                fresh(_path_name(str(node.value), is_remote=remote(node)), taken), "str", code, "", line
            )
        edits.append(Edit.of(node, found[code].name))
    seeds = list(_seeds(study))
    same = next((one for one in constants if "seed" in one.name or "random_state" in one.name), None)
    if seeds and len({node.value for node in seeds}) == 1 and (same is None or same.default == repr(seeds[0].value)):
        param = same or Param(fresh("seed", taken, "given"), "int", repr(seeds[0].value), "", seeds[0].lineno)
        found.setdefault(f"seed {param.name}", param)
        edits += [Edit.of(node, param.name) for node in seeds]
    elif len({node.value for node in seeds}) > 1:
        source.find(
            seeds[0].lineno, "random.several_seeds", "note", f"{len({node.value for node in seeds})} different seeds stand in the code; they stay there",
            "Give them names if they should be params.",
        )  # fmt: skip
    source.text = edited(source.text, edits)
    _blank(source, [one.node for one in study.statements if one.role == "param"])
    return sorted(dict.fromkeys(found.values()), key=lambda param: param.line)


def _constants(study: Study, taken: set[str]) -> tuple[list[Param], list[Edit]]:
    params: list[Param] = []
    edits: list[Edit] = []
    used = {name for one in study.statements for name in one.reads}
    for statement in [one for one in study.statements if one.role == "constant"]:
        [name] = statement.binds
        value = statement.node.value if isinstance(statement.node, (ast.Assign, ast.AnnAssign)) else None
        if not _is_scalar(value) or name.startswith("_") or name not in used:
            statement.role = "top"
            continue
        statement.role = "param"
        made = plain_name(name)
        made = name if made == name or f"@{name}" in study.source.text else fresh(made, taken, "option")
        params.append(
            Param(
                made,
                type(_value(value)).__name__,
                ast.unparse(value) if value else "",
                _comment(study, statement),
                statement.node.lineno,
            )
        )
        if made != name:
            edits += [
                Edit.of(one, made)
                for one in ast.walk(study.tree)
                if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
            ]
    return params, edits


def _value(node: ast.expr | None) -> object:
    return ast.literal_eval(node) if node is not None else None


def _is_scalar(node: ast.expr | None) -> bool:
    try:
        value = _value(node)
    except ValueError:
        return False
    if isinstance(value, str):
        return "\n" not in value and len(value) <= _LONGEST
    return isinstance(value, (bool, int, float))


def _comment(study: Study, statement: Statement) -> str:
    """The comment at the end of the line, or right above it."""
    lines = study.source.text.split("\n")
    after = lines[statement.last - 1].encode()[statement.node.end_col_offset :].decode().strip()
    if after.startswith("#"):
        return after.lstrip("# ").strip()
    above = lines[statement.node.lineno - 2].strip() if statement.node.lineno > statement.first else ""
    return above.lstrip("# ").strip() if above.startswith("#") and not re.search(r"[-=]{3}|%%", above) else ""


def _blank(source: Source, nodes: list[ast.stmt]) -> None:
    lines = source.text.split("\n")
    for node in nodes:
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            lines[number - 1] = ""
        above = node.lineno - 2
        if above >= 0 and lines[above].startswith("#") and not re.search(r"[-=]{3}|%%", lines[above]):
            lines[above] = ""
    source.text = "\n".join(lines)


def _paths(study: Study) -> Iterator[tuple[ast.Constant, int]]:
    """Literal paths of files that statements of the top level read and write; not those inside of functions."""
    for statement in study.statements:
        if statement.role in {"work", "folder"}:
            within = {id(node) for node in ast.walk(statement.node)}
            for effect in statement.effects:
                path = effect.path
                if (
                    effect.deed in {"read", "write", "network"}
                    and isinstance(path, ast.Constant)
                    and isinstance(path.value, str)
                    and id(path) in within
                ):
                    yield path, effect.line


def _seeds(study: Study) -> Iterator[ast.Constant]:
    for statement in study.statements:
        if statement.role != "work":
            continue
        for call in calls(statement.node):
            given = [value for name in sorted(_SEEDED) if (value := keyword(call, name)) is not None]
            given += call.args[:1] if study.full(call.func) in _SEEDS else []
            yield from (one for one in given if isinstance(one, ast.Constant) and type(one.value) is int)


def _path_name(path: str, *, is_remote: bool) -> str:
    """`data/sales 2024.csv` becomes `sales_2024_csv`."""
    name = PurePosixPath(path.replace("\\", "/").partition("?")[0])
    made = plain_name(name.name)
    if not re.search(r"[a-z]", made):
        made = f"file_{made}"
    return f"{made}_url" if is_remote else made
