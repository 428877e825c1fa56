"""From any error to an answer. The error tree meets HTTP here and nowhere else in the control plane; no traceback leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from loopline.errors import InvalidInput, LooplineError, NotFound, Unavailable, trace
from loopline.server.control.page import problem_page
from loopline.server.scoring import problem as scoring

_INTERNAL = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Problem:
    """Status, headers and body of an answer that tells of an error."""

    status: int
    headers: Mapping[str, str]
    media_type: str
    body: bytes


def problem(error: Exception, *, html: bool = False) -> Problem:
    """What to answer: `{"error", "code", "remedy", "context"}` as JSON, or a page for a browser."""
    told = _as_ours(error)
    answer = scoring.problem(told)
    headers = {name.decode(): value.decode() for name, value in answer.headers if name not in _OF_THE_BODY}
    if html:
        return Problem(answer.status, headers, "text/html", problem_page(told))
    said = told.as_dict()
    body = {"error": said["message"], "code": said["code"], "remedy": said["remedy"], "context": said["context"]}
    return Problem(answer.status, headers, "application/json", msgspec.json.encode(body))


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the application."""
    found = problem(error, html=wants_html(request.headers.get("accept", "")))
    if found.status >= _INTERNAL and not isinstance(error, Unavailable):
        # Renderers of exceptions show the values of variables, and texts of errors quote rows: some are secrets, some personal.
        route = request.scope.get("path_template")
        _log.error("request failed", method=request.method, route=route, exception=trace(error))
    return Response(found.body, status_code=found.status, headers=found.headers, media_type=found.media_type)


def wants_html(accept: str) -> bool:
    """Whether this is a browser showing a page: programs ask for JSON or for anything."""
    return accept.startswith("text/html")


_OF_THE_BODY = frozenset({b"content-type", b"x-content-type-options"})


def _as_ours(error: Exception) -> LooplineError:
    if isinstance(error, LooplineError) and error.code != "database.unreachable":
        return error
    if isinstance(error, HTTPException):
        return _of_the_framework(error)
    if isinstance(error, (sa.exc.OperationalError, LooplineError)):  # where the database stands is nobody's business
        return Unavailable("database.unavailable", "the database does not answer", remedy="Try again in a moment.")
    return LooplineError("server.internal", "something went wrong here", remedy="See the control plane's log.")


def _of_the_framework(error: HTTPException) -> LooplineError:
    match error.status_code:
        case 404:
            return NotFound(
                "http.no_route", "there is nothing at this path", remedy="GET /openapi.json lists the paths."
            )
        case 405:
            allowed = [method.strip() for method in (error.headers or {}).get("allow", "").split(",")]
            allowed = sorted(set(allowed) - {"OPTIONS"})
            remedy = f"Use {' or '.join(allowed)}."
            return InvalidInput(
                "http.method_not_allowed", "this path does not take that method", remedy=remedy, allowed=allowed
            )
        case 413:
            return InvalidInput("http.body_too_large", "the body is too large", remedy="Send less in one request.")
        case status if status < _INTERNAL:
            return InvalidInput("http.bad_request", _told(error), remedy="GET /openapi.json says what is expected.")
    return LooplineError("server.internal", "something went wrong here", remedy="See the control plane's log.")


def _told(error: HTTPException) -> str:
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return error.detail
    return "; ".join(f"{one.get('source', 'request')}: {one.get('key', '')}: {one['message']}" for one in error.extra)
