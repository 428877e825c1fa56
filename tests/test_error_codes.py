"""Error codes: `part.what_happened`, and one code for one thing."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import loopline

CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

# The same thing found in two places. Any other code that two modules use is two things under one name.
SHARED = {
    "evaluation.rows",  # figures and blocks that do not go together
    "evidence.out_of_range",  # an observation outside of [0, 1]
    "http.body_too_large",  # the two servers refuse alike
    "http.cross_site",
    "http.method_not_allowed",
    "http.no_route",
    "http.wrong_host",
    "model.missing_values",  # at packaging, and at scoring
    "model.unknown",
    "rollback.no_earlier",  # asked when it is prepared, and again when it is committed
    "scoring.bad_key",  # one row, or a frame of rows
    "scoring.bad_time",
    "server.internal",  # the two servers tell as little
    "storage.url_invalid",
    "table.unsupported_dtype",  # as it is ingested, and as it is declared
    "token.not_found",
    "up.port_taken",
}


PACKAGE = Path(loopline.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax of every file of the package, by its path below it, e.g. `loop/plan.py`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def error_classes() -> set[str]:
    return {node.name for node in trees()["errors.py"].body if isinstance(node, ast.ClassDef)}


def made_errors(*, also: str = "") -> list[tuple[str, ast.Call]]:
    """Every call of an error class, and of the function `also`, with the module it stands in."""
    names = error_classes() | {also}
    calls = [(name, node) for name, tree in trees().items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(name, call) for name, call in calls if isinstance(call.func, ast.Name) and call.func.id in names]


@cache
def codes() -> list[tuple[str, ast.expr]]:
    return [(name, call.args[0]) for name, call in made_errors(also="mistake") if call.args]


def texts(code: ast.expr) -> list[str]:
    """What the argument can be: literals, either branch of a choice, the fixed beginning of an f-string."""
    if isinstance(code, ast.Constant):
        return [str(code.value)]
    if isinstance(code, ast.IfExp):
        return [*texts(code.body), *texts(code.orelse)]
    if isinstance(code, ast.JoinedStr):
        return [f"{code.values[0].value}x" if isinstance(code.values[0], ast.Constant) else ""]
    return []


def test_codes_are_dotted_and_lower_case():
    wrong = [f"{module}: {text!r}" for module, code in codes() for text in texts(code) if not CODE.fullmatch(text)]
    assert wrong == []
    assert sum(bool(texts(code)) for _, code in codes()) > 200


def test_codes_that_are_not_literal_come_from_another_error():
    passed_on = {ast.unparse(code) for _, code in codes() if not texts(code)}
    assert passed_on <= {"error.code", "code"}


def test_one_code_is_one_thing():
    places: dict[str, set[str]] = defaultdict(set)
    for module, code in codes():
        for text in texts(code):
            places[text].add(module)
    shared = {code for code, found in places.items() if len(found) > 1 and not code.endswith(".x")}
    assert {code: sorted(places[code]) for code in shared - SHARED} == {}


def test_every_error_carries_a_message():
    """Code and message come first, by position, so that they read as a sentence where they are raised."""
    silent = [
        f"{name}:{call.lineno}"
        for name, call in made_errors()
        if len(call.args) < 2 and not any(isinstance(argument, ast.Starred) for argument in call.args)
    ]
    assert silent == []
