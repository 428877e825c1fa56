"""Scripts are opened up: what stands under `if __name__ == "__main__"`, in a `main()` called once, and on a line with others."""

import ast
import itertools
from collections.abc import Iterator

from loopline.app.adopting.calls import dotted
from loopline.app.adopting.edits import Edit, edited, shifted
from loopline.app.adopting.scopes import Function, flow
from loopline.app.adopting.source import Source


def unfold(source: Source) -> None:
    """Bring what a script does to the top level, where steps are made of it."""
    _guards(source)
    _one_each(source)
    _main(source)
    _one_each(source)


def _guards(source: Source) -> None:
    for node in ast.parse(source.text).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"__name__ == '__main__'", "'__main__' == __name__"}:
            lines = source.text.split("\n")
            first, last = node.body[0], node.body[-1]
            if first.lineno == node.lineno:
                lines[node.lineno - 1] = lines[node.lineno - 1].encode()[first.col_offset :].decode()
            else:
                end = last.end_lineno or last.lineno
                body = shifted("\n".join(lines[node.lineno : end]), -first.col_offset)
                lines[node.lineno - 1 : end] = ["", *body.split("\n")]
            source.text = "\n".join(lines)


def _one_each(source: Source) -> None:
    """A line for each statement of the top level."""
    body = ast.parse(source.text).body
    for before, node in reversed(list(itertools.pairwise(body))):
        if node.lineno == before.end_lineno:
            lines = source.text.split("\n")
            line = lines[node.lineno - 1].encode()
            parts = [line[: before.end_col_offset].decode(), line[node.col_offset :].decode()]
            source.text = "\n".join([*lines[: node.lineno - 1], *parts, *lines[node.lineno :]])
            source.places.insert(node.lineno, source.places[node.lineno - 1])


def _main(source: Source) -> None:
    tree = ast.parse(source.text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        call = _only_call(node)
        function = functions.get(call.func.id) if call and isinstance(call.func, ast.Name) else None
        if call is None or function is None or not _named_like_an_entry(function.name):
            continue
        if reason := _why_not(tree, function, node, call):
            source.find(
                function.lineno, "entry.kept", "note", f"`{function.name}` stays one function, and one step: {reason}",
                "Split it by hand if it should be several steps.",
            )  # fmt: skip
            continue
        _inline(source, function, node, call)
        return


def _named_like_an_entry(name: str) -> bool:
    return name in {"main", "_main", "run", "cli", "pipeline", "run_pipeline", "job", "process", "app"}


def _only_call(node: ast.stmt) -> ast.Call | None:
    """The call of `main()`, `x = main()`, `sys.exit(main())`, `raise SystemExit(main())`."""
    value = (
        node.value if isinstance(node, (ast.Expr, ast.Assign)) else node.exc if isinstance(node, ast.Raise) else None
    )
    if (
        isinstance(value, ast.Call)
        and dotted(value.func) in {"sys.exit", "exit", "SystemExit"}
        and len(value.args) == 1
    ):
        value = value.args[0]
    return value if isinstance(value, ast.Call) else None


def _why_not(tree: ast.Module, function: ast.FunctionDef, node: ast.stmt, call: ast.Call) -> str:
    uses = [one for one in ast.walk(tree) if isinstance(one, ast.Name) and one.id == function.name]
    returns = list(_returns(function.body))
    made = flow(function.body)
    locally = made.sure | made.perhaps | {one.arg for one in function.args.args}
    outside = flow([one for one in tree.body if one not in (function, node)])
    declared = {name for one in ast.walk(function) if isinstance(one, ast.Global) for name in one.names}
    between = tree.body[tree.body.index(function) + 1 : tree.body.index(node)]
    reasons = {
        "it is decorated": bool(function.decorator_list),
        "it is used more than once": len(uses) > 1,
        "it returns early": any(one is not function.body[-1] for one in returns),
        "its arguments are not simple": bool(
            function.args.vararg or function.args.kwarg or call.keywords or function.args.kwonlyargs
        ),
        "it yields": any(isinstance(one, (ast.Yield, ast.YieldFrom, ast.Await)) for one in ast.walk(function)),
        "its names are also names of the file": bool((locally - declared) & (outside.sure | outside.perhaps)),
        "code runs between its definition and its call": any(_works(one) for one in between),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _works(node: ast.stmt) -> bool:
    return not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)) and not (
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    )


def _returns(body: list[ast.stmt]) -> Iterator[ast.Return]:
    for node in body:
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for part in ast.iter_child_nodes(node):
                yield from _returns(
                    [part]
                    if isinstance(part, ast.stmt)
                    else list(getattr(part, "body", []))
                    if isinstance(part, ast.ExceptHandler)
                    else []
                )


def _inline(source: Source, function: ast.FunctionDef, node: ast.stmt, call: ast.Call) -> None:
    """The body takes the place of the definition; the call goes."""
    edits = []
    last = function.body[-1]
    if isinstance(last, ast.Return):
        edits.append(Edit.of(last, _returned(last, node)))
    edits += [Edit.of(one, "pass") for one in ast.walk(function) if isinstance(one, ast.Global)]
    lines = edited(source.text, edits).split("\n")
    for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
        lines[number - 1] = ""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    start = (docstring.end_lineno if docstring else _header_end(function, lines)) or function.lineno
    end = function.end_lineno or function.lineno
    body = shifted("\n".join(lines[start:end]), -function.body[0].col_offset)
    header = [""] * (start - function.lineno + 1)
    header[0] = "; ".join(_arguments(function, call))
    lines[function.lineno - 1 : end] = [*header, *body.split("\n")]
    source.text = "\n".join(lines)
    if docstring is not None:
        cell = source.cell(function.lineno)
        told = "\n\n".join(text for text in (cell.prose, ast.get_docstring(function) or "") if text)
        source.cells[cell.number - 1] = type(cell)(cell.number, told, cell.count)


def _header_end(function: Function, lines: list[str]) -> int:
    """The last line of `def ...:`; comments below it belong to the body."""
    number = function.body[0].lineno - 1
    while number > function.lineno and (not lines[number - 1].strip() or lines[number - 1].lstrip().startswith("#")):
        number -= 1
    return number


def _returned(last: ast.Return, node: ast.stmt) -> str:
    value = "" if last.value is None else ast.unparse(last.value)
    if isinstance(node, ast.Assign):
        return f"{ast.unparse(node.targets[0])} = {value or None}"
    if isinstance(last.value, (ast.Constant, ast.Name)) or not value:
        return "pass"
    return f"result = {value}"


def _arguments(function: ast.FunctionDef, call: ast.Call) -> Iterator[str]:
    parameters = function.args.args
    values: list[ast.expr | None] = [None] * len(parameters)
    if function.args.defaults:
        values[-len(function.args.defaults) :] = function.args.defaults
    values[: len(call.args)] = call.args
    for parameter, value in zip(parameters, values, strict=True):
        if value is not None and not (isinstance(value, ast.Name) and value.id == parameter.arg):
            yield f"{parameter.arg} = {ast.unparse(value)}"
