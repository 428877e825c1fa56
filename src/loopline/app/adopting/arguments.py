"""Arguments of a script, by argparse or `sys.argv`, become params of the pipeline."""

import ast
from collections.abc import Iterator
from typing import Any

from loopline.app.adopting.calls import dotted, keyword
from loopline.app.adopting.edits import Edit, edited
from loopline.app.adopting.params import Param, all_names, fresh, plain_name
from loopline.app.adopting.source import Source

_PLAIN = {"int", "float", "str", "bool"}


def take_arguments(source: Source) -> list[Param]:
    """Params of the script's arguments; the text then speaks of them by name, and the parser is gone."""
    return [*_argparse(source), *_argv(source)]


def _argparse(source: Source) -> list[Param]:
    tree = ast.parse(source.text)
    parsers = _parsers(tree)
    parsed = next(((node, name) for node in tree.body if (name := _parsed_into(node, tree, parsers))), None)
    if not parsers or parsed is None:
        return []
    node, into = parsed
    if any(isinstance(one, ast.Attribute) and one.attr == "add_subparsers" for one in ast.walk(tree)):
        source.find(
            node.lineno,
            "argument.commands",
            "blocks",
            "the script has several commands",
            "Adopt what each command does on its own.",
        )
        return []
    taken = all_names(tree) - {into}
    made = {_dest(call): _param(call, taken) for call in _added(tree, parsers)}
    edits = [Edit.of(one, made[one.attr][1]) for one in _attributes(tree, into) if one.attr in made]
    whole = _used_whole(tree, into)
    gone = [one for one in tree.body if _is_about(one, parsers, tree) and one is not node]
    space = ", ".join(f"{name}={used}" for name, (_, used) in made.items())
    edits += [Edit.of(one, "pass") for one in gone]
    edits.append(Edit.of(node, f"{into} = argparse.Namespace({space})" if whole else "pass"))
    source.text = _unpassed(edited(source.text, edits), [one.lineno for one in [*gone, node]])
    return [param for param, _ in made.values()]


def _unpassed(text: str, starts: list[int]) -> str:
    lines = text.split("\n")
    for number in starts:
        if lines[number - 1].lstrip("(").startswith("pass"):
            end = number
            while lines[number - 1].startswith("(") and not lines[end - 1].startswith(")") and end < len(lines):
                end += 1
            lines[number - 1 : end] = [""] * (end - number + 1)
    return "\n".join(lines)


def _parsers(tree: ast.Module) -> set[str]:
    """Names of parsers and of their groups."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            name = dotted(node.value.func)
            grouped = name.partition(".")[0] in found and name.endswith(
                ("add_argument_group", "add_mutually_exclusive_group")
            )
            if name.endswith("ArgumentParser") or grouped:
                found.add(node.targets[0].id)
    return found


def _parses(call: ast.AST, parsers: set[str]) -> bool:
    return isinstance(call, ast.Call) and dotted(call.func) in {f"{one}.parse_args" for one in parsers}


def _parsed_into(node: ast.stmt, tree: ast.Module, parsers: set[str]) -> str:
    """What `args` is called in `args = parser.parse_args()`, or in `args = get_args()` where that does it."""
    if not (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
    ):
        return ""
    asked = isinstance(node.value.func, ast.Name) and node.value.func.id in _askers(tree, parsers)
    return node.targets[0].id if asked or _parses(node.value, parsers) else ""


def _askers(tree: ast.Module, parsers: set[str]) -> set[str]:
    """Functions that do nothing but parse the arguments and return them."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        one.name
        for one in functions
        if isinstance(one.body[-1], ast.Return)
        and one.body[-1].value is not None
        and _parses(one.body[-1].value, parsers)
    }


def _is_about(node: ast.stmt, parsers: set[str], tree: ast.Module) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name in _askers(tree, parsers)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id in parsers
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Call) and dotted(value.func).partition(".")[0] in parsers


def _added(tree: ast.Module, parsers: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) in {f"{one}.add_argument" for one in parsers}:
            yield node


def _dest(call: ast.Call) -> str:
    dest = keyword(call, "dest")
    if isinstance(dest, ast.Constant):
        return str(dest.value)
    flags = [str(one.value) for one in call.args if isinstance(one, ast.Constant)]
    best = next((one for one in flags if one.startswith("--")), flags[0])
    return best.lstrip("-").replace("-", "_")


def _param(call: ast.Call, taken: set[str]) -> tuple[Param, str]:
    """The param, and the code that stands for the parsed value."""
    name = fresh(plain_name(_dest(call)), taken, "option")
    default, kind, action = keyword(call, "default"), keyword(call, "type"), keyword(call, "action")
    told = keyword(call, "help")
    text = str(told.value) if isinstance(told, ast.Constant) else ""
    doing = action.value if isinstance(action, ast.Constant) else ""
    if doing in {"store_true", "store_false"}:
        return Param(name, "bool", str(doing == "store_false"), text, call.lineno), name
    type_name = ast.unparse(kind) if kind is not None else _default_type(default)
    annotation = type_name if type_name in _PLAIN else "str"
    many = isinstance(keyword(call, "nargs"), ast.Constant) and _constant(keyword(call, "nargs")) != "?"
    annotation = f"list[{annotation}]" if many else annotation
    code = "" if default is None else _plain_default(default)
    required = _constant(keyword(call, "required")) is True or (
        not str(_constant(call.args[0])).startswith("-") and default is None
    )
    if not code and not required:
        code = "None"
    annotation += " | None" if code == "None" else ""
    used = name if type_name in _PLAIN or many else f"{type_name}({name})"
    return Param(name, annotation, code, text, call.lineno), used


def _default_type(default: ast.expr | None) -> str:
    kind = type(default.value).__name__ if isinstance(default, ast.Constant) and default.value is not None else "str"
    return "str" if kind not in _PLAIN else kind


def _plain_default(default: ast.expr) -> str:
    """The default as code; of `Path("a")` the text within."""
    wrapped = isinstance(default, ast.Call) and len(default.args) == 1 and isinstance(default.args[0], ast.Constant)
    return ast.unparse(default.args[0] if wrapped and isinstance(default, ast.Call) else default)


def _constant(node: ast.expr | None) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _attributes(tree: ast.Module, into: str) -> Iterator[ast.Attribute]:
    """`args.x` where `args` is the parsed one: at the top level, not in functions that take it as theirs."""
    for statement in tree.body:
        own = isinstance(statement, ast.FunctionDef) and into in {one.arg for one in statement.args.args}
        if not own:
            yield from (
                one for one in ast.walk(statement)
                if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == into and isinstance(one.ctx, ast.Load)
            )  # fmt: skip


def _used_whole(tree: ast.Module, into: str) -> bool:
    held = {id(one.value) for one in _attributes(tree, into)}
    for statement in tree.body:
        own = isinstance(statement, ast.FunctionDef)
        for one in ast.walk(statement):
            if (
                not own
                and isinstance(one, ast.Name)
                and one.id == into
                and isinstance(one.ctx, ast.Load)
                and id(one) not in held
            ):
                return True
    return False


def _argv(source: Source) -> list[Param]:
    """`x = sys.argv[1]` and `x = int(sys.argv[2])`; anything else that asks for arguments blocks."""
    tree = ast.parse(source.text)
    params, edits, taken_lines = [], [], []
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else None
        inner = value.args[0] if isinstance(value, ast.Call) and dotted(value.func) in _PLAIN and value.args else value
        if (
            isinstance(node, ast.Assign)
            and isinstance(inner, ast.Subscript)
            and dotted(inner.value) == "sys.argv"
            and isinstance(inner.slice, ast.Constant)
        ):
            annotation = dotted(value.func) if isinstance(value, ast.Call) else "str"
            params.append(
                Param(ast.unparse(node.targets[0]), annotation, "", f"argument {inner.slice.value!r}", node.lineno)
            )
            edits.append(Edit.of(node, "pass"))
            taken_lines.append(node.lineno)
    source.text = _unpassed(edited(source.text, edits), taken_lines)
    for one in ast.walk(ast.parse(source.text)):
        if isinstance(one, ast.Attribute) and dotted(one) == "sys.argv":
            source.find(
                one.lineno, "argument.argv", "blocks", "`sys.argv` is read in a way that is no param",
                "Assign each argument to a name first: `path = sys.argv[1]`.",
            )  # fmt: skip
    return params
