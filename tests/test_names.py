"""One word per thing: no catch-all modules, exported names that resolve, commands that exist."""

import ast
import re
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import loopline
from loopline.cli.main import COMMANDS

CATCH_ALL = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "shared", "lib"}
VAGUE = re.compile(r"(Manager|Helper|Utils?|Base|Impl)$")

PACKAGE = Path(loopline.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax of every file of the package, by its path below it, e.g. `loop/plan.py`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_no_module_or_folder_is_a_catch_all():
    parts = {part for name in trees() for part in re.split(r"[/_.]", name)}
    assert parts & CATCH_ALL == set()


def test_no_class_is_named_for_nothing():
    classes = [node.name for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if VAGUE.search(name)] == []


@pytest.mark.parametrize("name", loopline.__all__)
def test_exported_names_resolve(name):
    assert getattr(loopline, name) is getattr(loopline, name)
    assert name in dir(loopline)


def test_type_checkers_see_what_is_exported():
    """The imports under TYPE_CHECKING and the table of lazy names say the same."""
    [block] = [node for node in trees()["__init__.py"].body if isinstance(node, ast.If)]
    imports = [(node.module, alias) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(["__version__", *(str(alias.asname) for _, alias in imports)]) == sorted(loopline.__all__)
    for module, alias in imports:
        assert getattr(loopline, str(alias.asname)) is getattr(import_module(str(module)), alias.name)


def test_what_is_not_exported_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = loopline.nonsense


def test_every_command_has_a_module_and_every_module_a_command():
    found = [Path(name).stem for name, tree in trees().items() if name.startswith("cli/") and has_app(tree)]
    assert sorted(found) == sorted(COMMANDS)
    assert all(told.endswith(".") and told[0].isupper() for told in COMMANDS.values())


def has_app(tree: ast.Module) -> bool:
    targets = [to for node in tree.body if isinstance(node, ast.Assign) for to in node.targets]
    return any(isinstance(to, ast.Name) and to.id == "app" for to in targets)


def test_test_files_have_names_of_their_own():
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
