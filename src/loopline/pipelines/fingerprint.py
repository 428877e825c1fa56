"""The fingerprint of a step's code: its function, and all of the user's own code that it reaches through the names it uses."""

import dis
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from loopline.pipelines.own_code import file_of, is_installed, territory
from loopline.runs.surroundings import libraries
from loopline.storage.artifacts import ArtifactStore
from loopline.values import canonical_json, digest

_SHORT = 23


@cache
def environment() -> bytes:
    """Python's version and those of the installed libraries, as canonical JSON."""
    return canonical_json({"python": ".".join(map(str, sys.version_info[:3])), **libraries()})


@cache
def environment_digest() -> str:
    """That of the installed libraries' versions and of Python's; an artifact of this name says which."""
    return digest(environment())


class Fingerprints:
    """The fingerprints of functions, each worked out once; its parts are an artifact of the fingerprint's name."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._known: dict[Callable[..., Any], str] = {}
        artifacts.put(environment())

    def of(self, function: Callable[..., Any]) -> str:
        """The digest of `code_parts`; the parts are durable on return."""
        if function not in self._known:
            self._known[function] = self._artifacts.put(canonical_json(code_parts(function)))
        return self._known[function]


def code_parts(function: Callable[..., Any]) -> dict[str, str]:
    """A digest for each part of the user's own code that the function reaches: functions, classes, modules and plain constants, by name.

    Decorators and comments above a function do not count. Not covered: what is installed (the environment says that), data files, and what is reached by other ways than a name.
    """
    root = inspect.unwrap(function)
    own = territory(root)
    parts: dict[str, str] = {}
    waiting: list[Any] = [root]
    while waiting:
        found = waiting.pop()
        name = _name(found)
        if name not in parts:
            parts[name] = _short(_text(found))
            for used, value in _used(found):
                if _plain(value):
                    parts[f"{name}.{used} ="] = _short(repr(value).encode())
                elif (code := _unwrapped(value)) is not None and _is_own(code, own):
                    waiting.append(code)
            parts |= {f"import {file.name}": _short(file.read_bytes()) for file in _imported(found, own)}
    return dict(sorted(parts.items()))


def _used(found: Any) -> Iterator[tuple[str, Any]]:
    """What a function, the methods of a class, or a module name, with its value."""
    if isinstance(found, ModuleType):
        yield from ((name, value) for name, value in vars(found).items() if not _plain(value))
        return
    for function in _functions(found):
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                yield name, function.__globals__[name]
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not filled yet
                continue


def _functions(found: Any) -> list[FunctionType]:
    if isinstance(found, FunctionType):
        return [found]
    members = [getattr(member, "__func__", getattr(member, "fget", member)) for member in vars(found).values()]
    return [member for member in members if isinstance(member, FunctionType)]


def _names(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))


def _imported(found: Any, own: Path | None) -> Iterator[Path]:
    """Own modules that a function imports when it runs."""
    if own is None or isinstance(found, ModuleType):
        return
    for function in _functions(found):
        package = function.__globals__.get("__package__") or ""
        previous: list[Any] = []
        for instruction in dis.get_instructions(function.__code__):
            if instruction.opname == "IMPORT_NAME":
                level = next((one for one in reversed(previous) if isinstance(one, int)), 0)
                yield from _file_of_import(instruction.argval, level, package, own)
            previous = [*previous[-1:], instruction.argval]


def _file_of_import(name: str, level: int, package: str, own: Path) -> Iterator[Path]:
    try:
        full = importlib.util.resolve_name("." * level + name, package) if level else name
        spec = importlib.util.find_spec(full)
    except (ImportError, ValueError, AttributeError):
        return
    file = Path(spec.origin).resolve() if spec is not None and spec.origin and spec.has_location else None
    if file is not None and file.is_relative_to(own) and not is_installed(file):
        yield file


def _unwrapped(value: Any) -> Any:
    """The code behind a value; a step is the function it was made of. None for what is no code."""
    inner = value if isinstance(value, type | ModuleType) else inspect.unwrap(value) if callable(value) else None
    return inner if isinstance(inner, FunctionType | type | ModuleType) else None


def _is_own(code: Any, own: Path | None) -> bool:
    file = file_of(code)
    if file is None:
        return own is None and isinstance(code, FunctionType | type) and code.__module__ == "__main__"
    return own is not None and file.is_relative_to(own) and not is_installed(file)


def _name(found: Any) -> str:
    if isinstance(found, ModuleType):
        return found.__name__
    return f"{Path(file).stem if (file := file_of(found)) else ''}:{getattr(found, '__qualname__', repr(found))}"


def _text(found: Any) -> bytes:
    """The source; where there is none, the compiled code."""
    file = file_of(found)
    if isinstance(found, ModuleType):
        return file.read_bytes() if file else b""
    try:
        lines, _ = inspect.getsourcelines(found)
    except (OSError, TypeError):
        return (
            found.__code__.co_code + repr(found.__code__.co_consts).encode() if isinstance(found, FunctionType) else b""
        )
    first = next(
        (place for place, line in enumerate(lines) if line.lstrip().startswith(("def ", "class ", "async "))), 0
    )
    return "".join(lines[first:]).encode()


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(_plain(one) for one in value)
    return value is None or isinstance(value, str | int | float | bool | bytes)


def _short(text: bytes) -> str:
    return digest(text)[:_SHORT]
