"""The one tree of errors.

    LooplineError
    ├── InvalidInput          what was handed in is wrong; nothing was changed
    │   ├── DeclarationError  a loop file has a mistake (names the file and line)
    │   └── BadRows           a step says which rows of its input are wrong
    ├── NotFound              there is no such thing
    ├── Conflict              it exists already, or someone else was faster
    ├── AccessDenied
    │   ├── NotAuthenticated  no token, or not a valid one
    │   └── NotPermitted      the principal lacks the permission
    ├── Corrupt               bytes are not what their digest, signature or chain says
    ├── Frozen                automatic action is stopped
    └── Unavailable           something this needs is missing or does not answer

Every error carries a `code` that never changes once released (`part.what_happened`), a message that says what is wrong,
and a `remedy` that says what to do. Transports map classes to status codes; the classes know nothing of transports.
"""

import traceback
from collections.abc import Iterable
from typing import Any


class LooplineError(Exception):
    """Base of every error that Loopline raises on purpose.

    `code` is stable and meant for programs; `remedy` tells a person what to do next; `context` holds the values the
    message speaks of.
    """

    def __init__(self, code: str, message: str, *, remedy: str = "", **context: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.context = context

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]"
        return f"{text}\n{self.remedy}" if self.remedy else text

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON-ready values: `code`, `message`, `remedy`, `context`."""
        context = {key: value if _is_plain(value) else str(value) for key, value in self.context.items()}
        return {"code": self.code, "message": self.message, "remedy": self.remedy, "context": context}


def told(error: BaseException) -> str:
    """What may be logged of an error: all of ours; of any other its type and place, for its text may quote the rows it failed on."""
    if isinstance(error, LooplineError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {_place(frames[-1])}" if frames else type(error).__name__


def trace(error: BaseException) -> str:
    """The traceback of an error and of those behind it, without the texts of errors that are not ours."""
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{trace(behind)}\n" if behind is not None else ""
    frames = [f"  {_place(frame)}" for frame in traceback.extract_tb(error.__traceback__)]
    return before + "\n".join([*frames, told(error)])


def _place(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename}:{frame.lineno} in {frame.name}"


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, (str, int, float, bool))


class InvalidInput(LooplineError):
    """What was handed in is wrong. Nothing was changed."""


class DeclarationError(InvalidInput):
    """A loop file has a mistake; `file` and `line` say where."""

    def __init__(self, code: str, message: str, *, file: str = "", line: int = 0, remedy: str = "") -> None:
        where = f"{file}:{line}: " if file else ""
        super().__init__(code, f"{where}{message}", remedy=remedy, file=file, line=line)


class BadRows(InvalidInput):
    """Rows of a step's input are wrong: those at the positions `rows` of its parameter `parameter`, for `reason`.

    A step raises it so that these rows can be set aside and the rest goes on.
    """

    def __init__(self, parameter: str, rows: Iterable[int], reason: str) -> None:
        self.parameter, self.rows, self.reason = parameter, sorted({int(row) for row in rows}), reason
        super().__init__(
            "rows.bad",
            f"{len(self.rows)} rows of {parameter} are wrong: {reason}",
            remedy="Correct them at their source, or declare heal=[ll.when('data', ll.quarantine_rows)].",
            parameter=parameter,
        )


class NotFound(LooplineError):
    """There is no such thing."""


class Conflict(LooplineError):
    """It exists already with other content, or someone else was faster."""


class AccessDenied(LooplineError):
    """Base of what the access rules refuse."""


class NotAuthenticated(AccessDenied):
    """There is no token, or it is unknown, expired or revoked."""


class NotPermitted(AccessDenied):
    """The principal is known but lacks the permission."""


class Corrupt(LooplineError):
    """Bytes are not what their digest, signature or chain says they are."""


class Frozen(LooplineError):
    """Automatic action is stopped by `loopline freeze`."""


class Unavailable(LooplineError):
    """Something this needs is missing or does not answer."""
