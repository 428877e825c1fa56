"""The way in for a browser: a one-time login becomes a session."""

from typing import Any

from litestar import MediaType, Request, Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from loopline.errors import NotPermitted
from loopline.loop import access_changes
from loopline.server.control.guard import AnyToken, Public
from loopline.server.control.inputs import Caller, Home, MachineClock
from loopline.server.control.page import logged_out_page
from loopline.server.control.session import LIFETIME, no_session_cookie, session_cookie


@get(
    "/login",
    permission=Public("the one-time secret in the address is what lets in"),
    include_in_schema=False,
    sync_to_thread=True,
)
def log_in(
    home: Home, machine_clock: MachineClock, request: Request[Any, Any, Any], secret: FromQuery[str] = ""
) -> Redirect:
    """Use the login up and begin a session."""
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise NotPermitted(
            "http.cross_site", "a login cannot be started from another site", remedy="Paste the URL into the browser."
        )
    session = access_changes.begin_session(home, secret, valid_for=LIFETIME, at=machine_clock.now())
    secure = request.app.state.origin.startswith("https://")
    return Redirect("/", status_code=303, cookies=[session_cookie(session, secure=secure)])


@post(
    "/logout",
    permission=AnyToken("whoever holds a token may end it"),
    include_in_schema=False,
    status_code=200,
    media_type=MediaType.HTML,
    sync_to_thread=True,
)
def log_out(home: Home, caller: Caller, machine_clock: MachineClock) -> Response[bytes]:
    """Revoke the token that this request was made with."""
    access_changes.revoke_token(home, caller, caller.token_id, at=machine_clock.now())
    return Response(logged_out_page(), cookies=[no_session_cookie()])


HANDLERS = (log_in, log_out)
