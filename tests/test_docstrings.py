"""Every module, public class and public function says what it is for."""

import ast
import builtins
import re
from functools import cache
from pathlib import Path

import pytest

import loopline

PACKAGE = Path(loopline.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax of every file of the package, by its path below it, e.g. `loop/plan.py`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def public(tree: ast.Module) -> list[ast.ClassDef | ast.FunctionDef]:
    """The classes and functions of a module that others may use."""
    defined = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
    return [node for node in defined if not node.name.startswith("_")]


def is_private(name: str) -> bool:
    """A part's own SQL, and migrations, which are called by file."""
    return name.endswith("/store.py") or "migrations/versions/" in name


def test_every_module_has_a_docstring():
    assert [name for name, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_every_public_definition_has_a_docstring():
    missing = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in trees().items()
        if not is_private(name)
        for node in public(tree)
        if not ast.get_docstring(node)
    ]
    assert missing == []


@pytest.mark.parametrize("name", [name for name in loopline.__all__ if name != "__version__"])
def test_every_exported_name_is_explained(name):
    """Functions and classes by their own docstring, a ready-made condition or action by that of its class."""
    assert (getattr(loopline, name).__doc__ or "").strip()


def test_the_errors_that_docstrings_speak_of_exist():
    known = {node.name for node in public(trees()["errors.py"])} | set(dir(builtins))
    told = [
        (f"{name} {node.name}", error)
        for name, tree in trees().items()
        for node in public(tree)
        for error in raised_by(ast.get_docstring(node) or "")
    ]
    assert len(told) > 100
    assert [where for where, error in told if error not in known] == []


def raised_by(docstring: str) -> list[str]:
    sentences = re.findall(r"[Rr]aises ((?:`[A-Z]\w+`(?:, and |, or |, | and | or )?)+)", docstring)
    return [name for sentence in sentences for name in re.findall(r"`(\w+)`", sentence)]
