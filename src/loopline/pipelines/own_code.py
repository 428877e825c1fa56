"""Which code is the user's own: where a function's file belongs, and under what name another process imports it."""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from loopline.errors import InvalidInput

_INSTALLED = {"site-packages", "dist-packages"}
_MOST_FILES, _MOST_BYTES = 2000, 20_000_000


def run_file(file: Path, name: str) -> ModuleType | None:
    """Run a Python file as the module `name`, its folder importable meanwhile; None for a file that is none. Raises whatever it raises."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    folder = str(file.parent)
    sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def line_in(file: Path, error: BaseException) -> int:
    """The line of the file where an error came from; 0 where it did not come from there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return (lines[-1] or 0) if lines else 0


def located(file: Path) -> tuple[Path, str]:
    """The folder to import it from, and its name there: a file of a package belongs to the package, another stands alone."""
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return root, ".".join(parts)


def file_of(found: Any) -> Path | None:
    """The file of a module, or of the module of a function or class; None where there is none, as in a notebook."""
    module = found if isinstance(found, ModuleType) else sys.modules.get(getattr(found, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def territory(found: Any) -> Path | None:
    """The folder whose files are the user's own, for a function: that of its top package, or of its file."""
    file = file_of(found)
    if file is None or is_installed(file):
        return None
    root, name = located(file)
    return root / name.partition(".")[0] if "." in name or file.name == "__init__.py" else root


def is_installed(file: Path) -> bool:
    """Whether it was installed, or came with Python: then its version speaks for it."""
    return bool(_INSTALLED & set(file.parts)) or any(file.is_relative_to(base) for base in _standard())


def key_of(function: Callable[..., Any], name: str) -> str:
    """`module:qualname` as another process imports it; `name` where it has no file."""
    file = file_of(function)
    if file is None or is_installed(file):
        return name
    return f"{located(file)[1]}:{name.partition(':')[2]}"


def files_of(folder: Path, root: Path) -> Iterator[tuple[str, bytes]]:
    """Every Python file of a package; of a folder that is none, its own files and the packages in it. Each by its path from `root`.

    Raises `InvalidInput` "pipeline.code_too_large" where there are more than any pipeline's code has.
    """
    count = size = 0
    for path in _python_files(folder, whole=(folder / "__init__.py").exists()):
        content = path.read_bytes()
        count, size = count + 1, size + len(content)
        if count > _MOST_FILES or size > _MOST_BYTES:
            raise InvalidInput(
                "pipeline.code_too_large",
                f"{folder} has more than {_MOST_FILES} Python files or {_MOST_BYTES // 10**6} MB of them",
                remedy="Give the pipeline a folder or a package of its own.",
            )
        yield path.relative_to(root).as_posix(), content


def _python_files(folder: Path, *, whole: bool) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            skipped = path.name.startswith(".") or path.name in {"__pycache__", *_INSTALLED} or path.is_symlink()
            if not skipped and (whole or (path / "__init__.py").exists()):
                yield from _python_files(path, whole=True)
        elif path.suffix == ".py" and path.is_file():
            yield path


def _standard() -> list[Path]:
    return [
        Path(module.__file__).resolve().parent
        for name in ("os", "loopline")
        if (module := sys.modules.get(name)) and module.__file__
    ]
