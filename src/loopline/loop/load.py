"""Read a loop file. A mistake in it is told with its line."""

from pathlib import Path
from types import ModuleType

from loopline.errors import DeclarationError, LooplineError, NotFound
from loopline.loop.declare import Loop
from loopline.pipelines.own_code import line_in, run_file


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
    try:
        module = run_file(file, f"loopline_loop_{file.stem}")
    except DeclarationError:
        raise
    except SyntaxError as error:
        raise DeclarationError(
            "loop.syntax", error.msg, file=error.filename or str(file), line=error.lineno or 1, remedy="Mend the line."
        ) from error
    except LooplineError as error:
        line = line_in(file, error) or 1
        raise DeclarationError(error.code, error.message, file=str(file), line=line, remedy=error.remedy) from error
    except Exception as error:  # whatever the user's code raises is a mistake in the file
        raise DeclarationError(
            "loop.failed",
            f"{type(error).__name__}: {error}",
            file=str(file),
            line=line_in(file, error) or 1,
            remedy="The file must run without doing work: declare sources and models, call nothing.",
        ) from error
    if module is None:
        raise DeclarationError(
            "loop.not_python", "this is not a Python file", file=str(file), line=1, remedy="Name it .py."
        )
    return module
