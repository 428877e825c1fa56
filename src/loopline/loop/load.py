"""Read a loop file. A mistake in it is told with its line."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from loopline.errors import DeclarationError, LooplineError, NotFound
from loopline.loop.declare import Loop


def load_loop(path: str | Path) -> Loop:
    """The one `Loop` that the file declares. The file's folder is importable while it runs.

    Raises `NotFound` without a file and `DeclarationError` for a mistake in it, with file and line.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise NotFound(
            "loop.file_not_found", f"there is no loop file {path}", remedy="Give the path of the Python file."
        )
    module = _run(file)
    loops = {id(value): value for value in vars(module).values() if isinstance(value, Loop)}
    if len(loops) != 1:
        raise DeclarationError(
            "loop.not_one",
            f"{len(loops)} loops are declared",
            file=str(path),
            line=1,
            remedy='Declare exactly one: `loop = Loop("name")`.',
        )
    return next(iter(loops.values()))


def _run(file: Path) -> ModuleType:
    name = f"loopline_loop_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DeclarationError(
            "loop.not_python", "this is not a Python file", file=str(file), line=1, remedy="Name it .py."
        )
    module = importlib.util.module_from_spec(spec)
    folder = str(file.parent)
    sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except DeclarationError:
        raise
    except SyntaxError as error:
        raise DeclarationError(
            "loop.syntax", error.msg, file=error.filename or str(file), line=error.lineno or 1, remedy="Mend the line."
        ) from error
    except LooplineError as error:
        line = _line_in(file, error)
        raise DeclarationError(error.code, error.message, file=str(file), line=line, remedy=error.remedy) from error
    except Exception as error:  # whatever the user's code raises is a mistake in the file
        raise DeclarationError(
            "loop.failed",
            f"{type(error).__name__}: {error}",
            file=str(file),
            line=_line_in(file, error),
            remedy="The file must run without doing work: declare sources and models, call nothing.",
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _line_in(file: Path, error: BaseException) -> int:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return (lines[-1] or 1) if lines else 1
