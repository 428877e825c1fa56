"""Files stay short, imports stand at the top, time comes from a clock and chance from a seed."""

import ast
from functools import cache
from pathlib import Path

import loopline

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 500
# Whoever says what time it is: the clocks. Everyone else is told.
CLOCKS = {"clock.py"}

PACKAGE = Path(loopline.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax of every file of the package, by its path below it, e.g. `loop/plan.py`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_no_file_is_long():
    paths = [path for folder in ("src", "tests", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_our_own_modules_are_imported_at_the_top_except_in_app():
    """`loopline/__init__.py` imports inside of `if TYPE_CHECKING`."""
    held = {name: tree for name, tree in trees().items() if not name.startswith("app/") and name != "__init__.py"}
    imports = [(name, node) for name, tree in held.items() for node in ast.walk(tree) if imports_ours(node)]
    assert len(imports) > 500
    assert [f"{name}:{node.lineno}" for name, node in imports if node.col_offset > 0] == []


def imports_ours(node: ast.AST) -> bool:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return any(name.split(".")[0] == "loopline" for name in names)


def test_only_clocks_ask_for_the_time():
    asking = [f"{name}:{line}" for name, tree in trees().items() if name not in CLOCKS for line in asks_time(tree)]
    assert asking == []


def asks_time(tree: ast.Module) -> list[int]:
    """Lines that call `datetime.now`, `datetime.today`, `date.today` or `time.time`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    asked = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}
    return [call.lineno for call in calls if (ast.unparse(call.func.value).split(".")[-1], call.func.attr) in asked]


def test_nothing_draws_from_a_shared_stream_of_chance():
    shared = [f"{name}:{line}" for name, tree in trees().items() for line in unseeded(tree)]
    assert shared == []


def unseeded(tree: ast.Module) -> list[int]:
    """Lines that call `random.*`, `np.random.*` without a generator, or `default_rng()` without a seed."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        made = name.endswith(("default_rng", "SeedSequence", "Random"))
        if (made and not node.args) or (not made and name.startswith(("random.", "np.random.", "numpy.random."))):
            lines.append(node.lineno)
    return lines
