"""Params of the pipeline: of a script's arguments, of constants, of paths and seeds written where they are used."""

import ast
import keyword as keywords
import re
from dataclasses import dataclass

from loopline.app.adopting.source import Source


@dataclass(frozen=True)
class Param:
    """A param: its annotation, its default as code (empty if it must be given), and where it comes from."""

    name: str
    annotation: str
    default: str
    told: str
    line: int


def plain_name(text: str) -> str:
    """A name in lower case of any text; `value` if nothing of it is left."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()
    name = f"_{name}"[not name[:1].isdigit() :] or "value"
    return f"{name}_" if keywords.iskeyword(name) or keywords.issoftkeyword(name) else name


def fresh(name: str, taken: set[str], *endings: str) -> str:
    """The name, or with an ending, or a number, so that it is not taken; it is taken then."""
    tries = [name, *(f"{name}_{ending}" for ending in endings), *(f"{name}_{number}" for number in range(2, 1000))]
    made = next(one for one in tries if one not in taken)
    taken.add(made)
    return made


def all_names(tree: ast.AST) -> set[str]:
    """Every name that code uses for anything."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def note_required(source: Source, params: list[Param]) -> None:
    """Say which params have no default."""
    for param in params:
        if not param.default:
            source.find(
                param.line, "param.required", "note", f"`{param.name}` has no default and must be given", f"--set {param.name}=..."
            )  # fmt: skip
