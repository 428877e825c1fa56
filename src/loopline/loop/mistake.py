"""Mistakes in a loop file are told with the file and line of the user's code."""

import sys
from pathlib import Path

from loopline.errors import DeclarationError, InvalidInput

_OURS = (str(Path(__file__).resolve().parents[1]), "<string>")  # a dataclass's own __init__ has no file


def caller() -> tuple[str, int]:
    """File and line of the nearest caller outside this package: where the declaration stands."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to name the line without walking a whole traceback
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def mistake(code: str, message: str, remedy: str) -> DeclarationError:
    """The error to raise: what is wrong at the nearest line outside this package."""
    file, line = caller()
    return DeclarationError(code, message, file=file, line=line, remedy=remedy)


class blaming_caller:  # noqa: N801 - reads as a statement where it is used
    """Turns `InvalidInput` raised by a lower part into a `DeclarationError` that names the user's line."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidInput) and not isinstance(error, DeclarationError):
            raise mistake(error.code, error.message, error.remedy) from error
