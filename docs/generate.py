"""Write the parts of the reference that follow from the code: `python docs/generate.py`.

`reference/errors.md` lists every error code that is raised in `src`, found in the syntax tree; `reference/cli.md` every
command with its arguments and options; `reference/http.md` every route with its permission. `tests/docs` fails where one
of them is missing from its page.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import typer

from loopline.access.permissions import Permission
from loopline.access.roles import roles_with
from loopline.app.home import open_home
from loopline.cli.main import COMMANDS, EXIT_CODES
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.server.control.app import control_app
from loopline.server.control.guard import need_of
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.surface import all_routes
from loopline.server.scoring.unloaded import Unloaded

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "loopline"
CODE = re.compile(r"[a-z_]+\.[a-z_]+")
CLASSES = {
    "InvalidInput": (2, 400),
    "DeclarationError": (2, 400),
    "NotFound": (3, 404),
    "Conflict": (4, 409),
    "NotAuthenticated": (5, 401),
    "NotPermitted": (5, 403),
    "Corrupt": (6, 500),
    "Frozen": (7, 500),
    "Unavailable": (8, 503),
    "LooplineError": (1, 500),
}
MAKERS = {"mistake": "DeclarationError", "kind": "Unavailable"}
CUT = {"{": "&#123;", "}": "&#125;", "|": "\\|"}


class Raised(NamedTuple):
    """An error as the source raises it: class, code, message and remedy, with `...` for what is filled in."""

    kind: str
    code: str
    message: str
    remedy: str


def raised() -> list[Raised]:
    """Every error that the package raises under a code of its own, by code."""
    found: dict[str, Raised] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "testing" not in path.parts:
            for one in _raised_in(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(one.code, one)
    return [found[code] for code in sorted(found)]


def _raised_in(tree: ast.Module) -> Iterator[Raised]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        kind = MAKERS.get(name, name)
        if kind in CLASSES and len(call.args) > 1:
            remedy = next((word.value for word in call.keywords if word.arg == "remedy"), None)
            if name == "mistake" and len(call.args) > 2:  # noqa: PLR2004 - code, message, remedy
                remedy = call.args[2]
            for code in _codes(call.args[0], tree):
                yield Raised(kind, code, _text(call.args[1]), _text(remedy) if remedy else "")


def _codes(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The codes that an expression can give: a constant, one of two, one put together, or one that the file holds."""
    match node:
        case ast.Constant(value=str(code)):
            yield code
        case ast.IfExp():
            yield from _codes(node.body, tree)
            yield from _codes(node.orelse, tree)
        case ast.JoinedStr(values=[ast.Constant(value=str(part)), _]):
            calls = (call for call in ast.walk(tree) if isinstance(call, ast.Call))
            refused = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "_refused")
            yield from (f"{part}{call.args[0].value}" for call in refused if isinstance(call.args[0], ast.Constant))
        case ast.Name(id="code"):
            constants = (part.value for part in ast.walk(tree) if isinstance(part, ast.Constant))
            yield from (text for text in constants if isinstance(text, str) and CODE.fullmatch(text))


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(_text(part) if isinstance(part, ast.Constant) else "..." for part in node.values)
        case ast.BinOp(op=ast.Add()):
            return _text(node.left) + _text(node.right)
    return "..."


def errors_page() -> str:
    """`reference/errors.md`."""
    lines = [(DOCS / "reference" / "errors.head").read_text(encoding="utf-8")]
    lines += ["| code | class | exit | HTTP | message | what to do |", "|---|---|---|---|---|---|"]
    for one in raised():
        exit_code, status = CLASSES[one.kind]
        cells = [f"`{one.code}`", one.kind, str(exit_code), str(status), _cell(one.message), _cell(one.remedy)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return re.sub("[{}|]", lambda found: CUT[found[0]], text).replace("<", "&lt;")


def command_pages() -> dict[str, list[tuple[str, Any]]]:
    """Each command's name with its click commands: one, or those of its group, named as they are called."""
    found = {}
    for name in COMMANDS:
        made: Any = typer.main.get_command(import_module(f"loopline.cli.{name}").app)
        parts = getattr(made, "commands", None)
        found[name] = [(f"{name} {part}", one) for part, one in parts.items()] if parts else [(name, made)]
    return found


def cli_page() -> str:
    """`reference/cli.md`."""
    codes = "\n".join(f"| {code} | `{kind.__name__}` |" for kind, code in EXIT_CODES)
    head = (DOCS / "reference" / "cli.head").read_text(encoding="utf-8").replace("CODES", codes)
    lines = [head]
    for name, parts in command_pages().items():
        lines += [f"## {name}\n", COMMANDS[name] + "\n"]
        for called, one in parts:
            lines += [f"`loopline {called}{_arguments(one)}`: {' '.join((one.help or '').split())}\n"]
            lines += [_option(option) for option in one.params if option.opts[0].startswith("-")]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _arguments(one: Any) -> str:
    names = [part for part in one.params if not part.opts[0].startswith("-")]
    told = [(part.metavar or part.name).upper().strip("[]") for part in names]
    return "".join(f" {name}" if part.required else f" [{name}]" for part, name in zip(names, told, strict=True))


def _option(option: Any) -> str:
    plain = isinstance(option.default, (str, int)) and not isinstance(option.default, bool) and option.default != ""
    shown = f" Default: `{option.default}`." if plain else ""
    given = f" Environment: `{option.envvar}`." if option.envvar else ""
    needed = " Needed." if option.required else ""
    return f"- `{option.opts[0]}`: {option.help or 'Print this.'}{needed}{shown}{given}"


class Route(NamedTuple):
    """One route: method, path with its variable parts in braces, what it needs, and what it does."""

    method: str
    path: str
    needs: Any
    told: str


def scoring_routes() -> list[Route]:
    """The routes of the scoring process."""
    routes: Any = all_routes
    found = routes(None, Metrics(), Repository(Unloaded()), clock=SystemClock())
    return [Route(one.method, one.path, one.permission, "") for one in found]


def control_routes() -> list[Route]:
    """The routes of the control plane."""
    with TemporaryDirectory() as folder:
        home = open_home(Settings.read(folder, environment={"LOOPLINE_DURABLE": "0"}), silent=True)
        with closing(home.database):
            app: Any = control_app(home).app
    found = (
        (route.path, handler)
        for route in app.routes
        for handler in sorted(route.route_handlers, key=lambda one: sorted(one.http_methods))
    )
    return [
        Route(method, re.sub(r":\w+}", "}", path), need_of(handler), _told(handler.fn))
        for path, handler in found
        for method in sorted(handler.http_methods - {"OPTIONS"})
    ]


def _told(function: Any) -> str:
    wrapped = getattr(function, "func", function)  # what runs in a thread stands in a wrapper
    return " ".join((wrapped.__doc__ or "").split())


def http_page() -> str:
    """`reference/http.md`."""
    page = (DOCS / "reference" / "http.head").read_text(encoding="utf-8")
    page = page.replace("PERMISSIONS", "\n".join(_permission(one) for one in Permission))
    page = page.replace("SCORING", "\n".join(_route(one) for one in scoring_routes()))
    return page.replace("CONTROL", "\n".join(_route(one) for one in control_routes()))


def _permission(one: Permission) -> str:
    return f"| `{one}` | {', '.join(roles_with(one))} |"


def _route(one: Route) -> str:
    needs = f"`{one.needs}`" if isinstance(one.needs, Permission) else f"{_openness(one.needs)}: {one.needs.reason}"
    return f"| `{one.method} {one.path}` | {needs} |{f' {_cell(one.told)} |' if one.told else ''}"


def _openness(need: Any) -> str:
    return "no token" if type(need).__name__ == "Public" else "any token"


if __name__ == "__main__":
    (DOCS / "reference" / "http.md").write_text(http_page(), encoding="utf-8")
    (DOCS / "reference" / "errors.md").write_text(errors_page(), encoding="utf-8")
    (DOCS / "reference" / "cli.md").write_text(cli_page(), encoding="utf-8")
