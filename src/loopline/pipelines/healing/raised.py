"""An error as plain data: what a step's process can tell of it, to be classified elsewhere. Nothing is imported for it."""

import signal
from collections.abc import Iterator
from typing import Any

import msgspec

from loopline.errors import LooplineError, told
from loopline.pipelines.healing.message import shape_of

_DEEPEST = 8
_SHELL = 128  # a shell adds it to the signal's number


class Raised(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One error. `types` are the dotted names of its class and of that class's own, most special first.

    `told` is what may be logged, `shape` the message without what changes from time to time (see `message`). `status` is an
    HTTP status, `number` the system's errno, `state` an SQLSTATE, `code` ours; `source` is what it came from, where that is
    known: a host, a table; `class_` the class that
    an error of ours says itself. `exit_code` and `killed_by` (a signal's number) tell how a process ended, `out_of_memory` that the
    system, or the step's own limit, ended it for its memory. `behind` is the error it came of.
    """

    types: tuple[str, ...] = ()
    told: str = ""
    shape: str = ""
    status: int | None = None
    number: int | None = None
    state: str | None = None
    code: str = ""
    class_: str = ""
    source: str = ""
    exit_code: int | None = None
    killed_by: int | None = None
    out_of_memory: bool = False
    behind: "Raised | None" = None

    @property
    def name(self) -> str:
        """What it is called: the class, the signal, or the exit code."""
        if self.types:
            return self.types[0].removeprefix("builtins.")
        return self.told

    def chain(self) -> Iterator["Raised"]:
        """The error and those behind it."""
        one: Raised | None = self
        while one is not None:
            yield one
            one = one.behind


def raised(error: BaseException, *, source: str = "", _depth: int = 0) -> Raised:
    """The error as data, with those behind it. `source` says what it came from, where the error itself does not."""
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__) or _original(error)
    deeper = behind is not None and _depth < _DEEPEST
    return Raised(
        types=tuple(f"{one.__module__}.{one.__qualname__}" for one in type(error).__mro__[:-1]),
        told=told(error),
        shape=_shape(error),
        status=_status(error),
        number=error.errno if isinstance(error, OSError) else None,
        state=_text(getattr(error, "sqlstate", None)),
        code=error.code if isinstance(error, LooplineError) else "",
        class_=str(error.context.get("failure", "")) if isinstance(error, LooplineError) else "",
        source=source or _source(error),
        behind=raised(behind, _depth=_depth + 1) if deeper and behind is not None else None,
    )


def exited(code: int, *, out_of_memory: bool = False) -> Raised:
    """How a process ended that told no error: `code` as `subprocess` gives it, -9 for SIGKILL; a shell's 137 means the same.

    `out_of_memory` says that the system's log, its control group or the step's limit names memory as the cause.
    """
    killed = -code if code < 0 else code - _SHELL if _SHELL < code < _SHELL + 65 else None
    told_ = f"killed by {_signal(killed)}" if killed is not None else f"exit code {code}"
    return Raised(
        told=told_,
        shape=told_,
        exit_code=code,
        killed_by=killed,
        out_of_memory=out_of_memory,
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _original(error: BaseException) -> BaseException | None:
    """SQLAlchemy wraps the driver's error."""
    found = getattr(error, "orig", None)
    return found if isinstance(found, BaseException) else None


def _shape(error: BaseException) -> str:
    """Of SQLAlchemy's wrappers the driver's message: their own quotes the statement and its values."""
    if isinstance(error, LooplineError):
        return shape_of(error.message)
    return shape_of(str(_original(error) or error))


def _status(error: BaseException) -> int | None:
    """An HTTP status: of the response (httpx, requests), or of the error itself (urllib, aiohttp, botocore's metadata)."""
    response = getattr(error, "response", None)
    metadata: Any = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    found = [
        getattr(response, "status_code", None),
        metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None,
        *(getattr(error, name, None) for name in ("status_code", "status", "code")),
    ]
    return next((one for one in found if isinstance(one, int) and 100 <= one < 600), None)  # noqa: PLR2004 - HTTP's


def _source(error: BaseException) -> str:
    """What the error itself says it was about: a host, a file's name is too special."""
    context = error.context if isinstance(error, LooplineError) else {}
    named = [str(context[name]) for name in ("source", "table", "host") if context.get(name)]
    if named:
        return named[0]
    try:  # httpx raises where there is no request
        host = getattr(getattr(getattr(error, "request", None), "url", None), "host", None)
    except RuntimeError:
        host = None
    return host if isinstance(host, str) else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
