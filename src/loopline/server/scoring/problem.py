"""From an error to an answer: its status, and a body of message, code and remedy. Never a traceback."""

from typing import Any

import msgspec

from loopline.errors import (
    Conflict,
    InvalidInput,
    LooplineError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Unavailable,
)
from loopline.server.scoring.http import Response

_STATUS: tuple[tuple[type[LooplineError], int], ...] = (
    (NotAuthenticated, 401),
    (NotPermitted, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unavailable, 503),
    (InvalidInput, 400),
)
_BY_CODE = {
    "http.method_not_allowed": 405,
    "http.body_too_large": 413,
    "http.headers_too_large": 431,
    "http.too_slow": 408,
    "scoring.deadline_exceeded": 504,
    "http.encoding_not_supported": 415,
    "http.wrong_host": 421,
    "http.content_type": 415,
}


def problem(error: Exception) -> Response:
    """The answer that tells of `error`; what is none of ours becomes a bare 500."""
    ours, status = as_ours(error), status_of(error)
    response = _answer(status, ours.code, ours.message, ours.remedy)
    match status:
        case 401:
            return response.with_header(b"www-authenticate", b'Bearer realm="loopline"')
        case 405:
            return response.with_header(b"allow", ", ".join(ours.context["allowed"]).encode())
        case 503:
            return response.with_header(b"retry-after", str(ours.context.get("retry_after", 1)).encode())
    return response


def status_of(error: Exception) -> int:
    """The HTTP status that tells of an error."""
    ours = as_ours(error)
    status = next((status for kind, status in _STATUS if isinstance(ours, kind)), 500)
    return _BY_CODE.get(ours.code, status)


def as_ours(error: Exception) -> LooplineError:
    """An error of the one tree for any: itself, one for a body that cannot be read, or one that tells nothing of what went wrong."""
    if isinstance(error, LooplineError):
        return error
    if isinstance(error, (msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        return _bad_body(error)
    return LooplineError("server.internal", "something went wrong here", remedy="See the scoring process's log.")


def _bad_body(error: Exception) -> InvalidInput:
    what = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:300]
    return InvalidInput(
        "http.bad_json", f"the body is not the JSON that is expected here: {what}", remedy="See the API's reference."
    )


def _answer(status: int, code: str, message: str, remedy: str) -> Response:
    body: dict[str, Any] = {"error": message, "code": code, "remedy": remedy}
    return Response.json(body, status=status)
