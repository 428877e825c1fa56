"""A browser's session: a short-lived token in a cookie that scripts cannot read and other sites cannot send."""

from datetime import timedelta
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from loopline.errors import NotPermitted

COOKIE = "loopline_session"
LIFETIME = timedelta(hours=12)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def session_secret(connection: ASGIConnection[Any, Any, Any, Any], origin: str | None) -> str | None:
    """The secret of the bearer token, or else of the session; None where there is neither.

    A browser sends its cookie whoever asks it to, so with one an unsafe method has to come from a page of this origin.
    Raises `NotPermitted` "http.cross_site".
    """
    authorization = connection.headers.get("authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else None
    cookie = connection.cookies.get(COOKIE)
    if cookie is not None and connection.scope.get("method") not in _SAFE_METHODS:
        _refuse_other_origins(connection, origin)
    return cookie


def session_cookie(secret: str, *, secure: bool) -> Cookie:
    """The cookie that begins a session: only for this host (no domain), not for scripts, not from other sites."""
    lifetime = int(LIFETIME.total_seconds())
    return Cookie(COOKIE, value=secret, max_age=lifetime, path="/", httponly=True, samesite="strict", secure=secure)


def no_session_cookie() -> Cookie:
    """The cookie that makes a browser forget the session."""
    return Cookie(COOKIE, value="", max_age=0, path="/", httponly=True, samesite="strict")


def _refuse_other_origins(connection: ASGIConnection[Any, Any, Any, Any], origin: str | None) -> None:
    """Origin where the browser sends it; it is not enough that the site is the same, since ports share a site."""
    own = origin or f"{connection.scope['scheme']}://{connection.headers.get('host', '')}"
    claimed, site = connection.headers.get("origin"), connection.headers.get("sec-fetch-site")
    same = claimed == own if claimed is not None else site == "same-origin"
    if not same or site not in {None, "same-origin"}:
        raise NotPermitted(
            "http.cross_site",
            "a session's changes have to come from a page of this very origin",
            remedy="Programs send `Authorization: Bearer ll_...` instead of a cookie.",
        )
