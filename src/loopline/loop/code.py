"""The code that makes something, by its text: a function, and what it uses of the same folder."""

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from loopline.loop.source import Pushed
from loopline.sources.reader import Reading


def code_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the source text of a function and of the functions, classes and modules beside its file that it uses, so that a
    version can say which code made it. Alone, it is that of the function's own text; a reader's is that of what it reads.
    """
    if isinstance(function, Reading):
        return function.code
    if isinstance(function, Pushed):
        return _digest("pushed") if function.history is None else code_digest(function.history)
    parts = _texts(function)
    return _digest(
        next(iter(parts.values())) if len(parts) == 1 else "\x1f".join(parts[name] for name in sorted(parts))
    )


def code_parts(function: Callable[..., Any]) -> dict[str, str]:
    """The digest of each part that `code_digest` covers, and of each plain constant they name, by name.

    Decorators do not count: what they declare is compared as what it means. Not covered: what is installed (the versions of libraries say that), data files, the environment, and what is reached by
    other ways than a name, such as `getattr` with a computed one.
    """
    found = {name: _undecorated(text) for name, text in _texts(function).items()}
    constants = {name: repr(value) for name, value in _constants(function)}
    return {name: _digest(text) for name, text in sorted({**found, **constants}.items())}


def _texts(function: Callable[..., Any]) -> dict[str, str]:
    """Source texts by name, the function's own first."""
    return {name: _source(found) for name, found in _reached(function).items()}


def _undecorated(text: str) -> str:
    """The source of a function or class from its `def` or `class` on; any other text as it is."""
    try:
        body = ast.parse(textwrap.dedent(text)).body
    except SyntaxError:  # a lambda amidst its line
        return text
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return "".join(text.splitlines(keepends=True)[body[0].lineno - 1 :])
    return text


def _constants(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    for found in _reached(function).values():
        for name, value in _named(found):
            if _plain(value):
                yield f"{name} =", value


def _reached(function: Callable[..., Any]) -> dict[str, Any]:
    """The function and, through it, every function, class and module of its own folder that it names."""
    root = inspect.unwrap(function)
    folder = _folder(root)
    reached: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        found = waiting.pop()
        name = _name(found, root)
        if name in reached:
            continue
        reached[name] = found
        uses = (_unwrapped(value) for _, value in _named(found))
        waiting += [value for value in uses if _is_code(value) and _beside(value, folder)]
    return reached


def _named(found: Any) -> Iterator[tuple[str, Any]]:
    """The globals that a function, or the methods of a class, name."""
    functions = (
        [member for member in vars(found).values() if isinstance(member, FunctionType)]
        if isinstance(found, type)
        else [found]
    )
    for function in functions:
        if isinstance(function, FunctionType):
            for name in sorted(_names(function.__code__)):
                if name in function.__globals__:
                    yield name, function.__globals__[name]


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))


def _unwrapped(value: Any) -> Any:
    return inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value


def _is_code(value: Any) -> bool:
    return isinstance(value, FunctionType | type | ModuleType)


def _name(found: Any, root: Any) -> str:
    """How it is called where the function stands; a module's own name comes first for what stands elsewhere."""
    if isinstance(found, ModuleType):
        return found.__name__
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", repr(found))
    return name if module == getattr(root, "__module__", None) else f"{module}.{name}"


def _beside(found: Any, folder: Path | None) -> bool:
    """Whether the code stands in that folder or below it, and is not installed there."""
    own = _folder(found)
    if own is None or folder is None or not own.is_relative_to(folder):
        return False
    return "site-packages" not in own.relative_to(folder).parts


def _folder(found: Any) -> Path | None:
    module = found if isinstance(found, ModuleType) else sys.modules.get(getattr(found, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return Path(file).resolve().parent if file else None


def _source(found: Any) -> str:
    try:
        return inspect.getsource(found)
    except (OSError, TypeError):
        return repr(found)


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(_plain(one) for one in value)
    return value is None or isinstance(value, str | int | float | bool | bytes)


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
