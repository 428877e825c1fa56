"""Read a pipeline from `FILE` or `FILE:NAME`, under the name that any worker will import it by."""

import importlib
import sys
from pathlib import Path

from loopline.errors import DeclarationError, LooplineError, NotFound
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.own_code import line_in, located


def load_pipeline(reference: str) -> Pipeline:
    """The pipeline of that name in the file, or its only one. The file's folder, or that of its package, is importable from then on.

    Raises `NotFound` without a file or pipeline, and `DeclarationError` for a mistake in the file, with its line.
    """
    path, _, name = reference.partition(":") if not Path(reference).exists() else (reference, "", "")
    file = pipeline_file(path)
    found = pipelines_in(file)
    chosen = [one for one in found if name in {"", one.name, one.function.__name__}]
    if len(chosen) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise NotFound(
            "pipeline.not_found",
            f"{path} has {'no pipeline ' + name if name else 'not exactly one pipeline'}; it declares {names}",
            remedy="Name one of them: FILE:NAME.",
        )
    return chosen[0]


def pipeline_file(path: str | Path) -> Path:
    """The file, absolute. Raises `NotFound` "pipeline.file_not_found"."""
    file = Path(path).resolve()
    if not file.is_file():
        raise NotFound("pipeline.file_not_found", f"there is no file {path}", remedy="Give FILE or FILE:PIPELINE.")
    return file


def pipelines_in(file: Path) -> list[Pipeline]:
    """The pipelines that a file declares itself."""
    root, name = located(file)
    module = sys.modules.get(name)
    if name.partition(".")[0] in sys.stdlib_module_names or (module and getattr(module, "__file__", None) != str(file)):
        raise DeclarationError(
            "pipeline.name_taken",
            f"there is another module {name} already",
            file=str(file),
            line=1,
            remedy="Give the file another name: workers import it by that.",
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name)
    except DeclarationError:
        raise
    except SyntaxError as error:
        raise DeclarationError(
            "pipeline.syntax",
            error.msg,
            file=error.filename or str(file),
            line=error.lineno or 1,
            remedy="Mend the line.",
        ) from error
    except Exception as error:  # whatever the user's code raises is a mistake in the file
        code = error.code if isinstance(error, LooplineError) else "pipeline.file_failed"
        said = error.message if isinstance(error, LooplineError) else f"{type(error).__name__}: {error}"
        remedy = (
            error.remedy
            if isinstance(error, LooplineError)
            else "The file must run without doing work: declare steps and pipelines."
        )
        raise DeclarationError(code, said, file=str(file), line=line_in(file, error) or 1, remedy=remedy) from error
    values = {
        id(one): one for one in vars(module).values() if isinstance(one, Pipeline) and one.__module__ == module.__name__
    }
    return list(values.values())
