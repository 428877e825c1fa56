"""What went wrong in a step, by class: the class decides whether another attempt makes sense."""

import errno
import traceback
from collections.abc import Mapping

import msgspec

from loopline.errors import AccessDenied, Conflict, InvalidInput, LooplineError, NotFound, Unavailable
from loopline.pipelines.retries import kind_of

_LONGEST = 4000
_FULL = {errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EDQUOT}
_BY_TYPE: tuple[tuple[type[BaseException], str], ...] = (
    (AccessDenied, "access"),
    (Unavailable, "dependency"),
    (Conflict, "dependency"),
    (InvalidInput, "data"),
    (NotFound, "data"),
    (LooplineError, "code"),
    (MemoryError, "capacity"),
    (PermissionError, "access"),
    (TimeoutError, "timeout"),
    (FileNotFoundError, "data"),
    (OSError, "dependency"),
    (ArithmeticError, "code"),
    (AssertionError, "code"),
    (AttributeError, "code"),
    (ImportError, "code"),
    (NameError, "code"),
    (NotImplementedError, "code"),
    (SyntaxError, "code"),
    (TypeError, "code"),
)
_DATA = (LookupError, ValueError, EOFError)
_BY_NAME: Mapping[str, tuple[str, ...]] = {
    "timeout": ("timeout", "deadline"),
    "access": ("forbidden", "unauthorized", "permission", "accessdenied", "credential"),
    "capacity": ("outofmemory", "quota", "ratelimit", "throttl", "toomanyrequests"),
    "dependency": (
        "connect",
        "unavailable",
        "operationalerror",
        "network",
        "transport",
        "protocolerror",
        "interfaceerror",
    ),
    "data": ("validation", "schema", "decode", "parse", "computeerror", "dataerror", "integrity"),
}


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt's error: its class, the exception's types from the nearest up, what it says, and where."""

    error_class: str
    code: str
    message: str
    kinds: tuple[str, ...] = ()
    trace: str = ""
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """What is kept of an exception that a step raised. Its text is the user's own and is kept."""
        code = error.code if isinstance(error, LooplineError) else "step.failed"
        kinds = tuple(kind_of(kind) for kind in type(error).__mro__ if kind not in {object, BaseException})
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "/loopline/pipelines/" not in frame.filename
        ]
        text = "".join(traceback.format_list(frames))
        said = error.message if isinstance(error, LooplineError) else f"{type(error).__name__}: {error}"
        return cls(error_class(error), code, said[:_LONGEST], kinds, text[-_LONGEST:])


def error_class(error: BaseException) -> str:
    """data, access, capacity, code, dependency or timeout. What nobody can tell is the code's."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return "capacity"
    by_type = next((found for kind, found in _BY_TYPE if isinstance(error, kind)), None)
    if by_type is not None:
        return by_type
    return _named(error) or ("data" if isinstance(error, _DATA) else "code")


def _named(error: BaseException) -> str:
    """By the name of its type, for libraries that are not imported here."""
    names = [kind.__name__.lower() for kind in type(error).__mro__[:-3]]
    found = (kind for kind, parts in _BY_NAME.items() if any(part in name for name in names for part in parts))
    return next(found, "")
