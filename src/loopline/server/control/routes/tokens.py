"""Tokens: listed without their secrets, issued, revoked."""

from datetime import datetime

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from loopline.access import tokens
from loopline.access.permissions import Permission
from loopline.access.tokens import Token
from loopline.loop import access_changes
from loopline.server.control.inputs import Body, Caller, Duration, Home, MachineClock, Name
from loopline.values import duration


class TokenSummary(msgspec.Struct, frozen=True):
    """A token without its secret, and without its digest. `scopes` is null for all that its principal may do."""

    token_id: str
    principal: str
    name: str
    scopes: tuple[Permission, ...] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class TokenRequest(Body):
    """What a token is for, whose it is, what it permits, and for how long, such as `30d`."""

    name: Name
    principal: Name
    scopes: list[Name] | None = None
    expires_in: Duration = "30d"


class IssuedToken(msgspec.Struct, frozen=True):
    """A new token. Its secret is shown here, once."""

    secret: str
    token: TokenSummary


@get("/tokens", permission=Permission.TOKENS_MANAGE, sync_to_thread=True)
def list_tokens(home: Home) -> list[TokenSummary]:
    """Every token, the ended ones too, oldest first."""
    with home.database.reading() as tx:
        return [_summary(token) for token in tokens.tokens(tx)]


@post("/tokens", permission=Permission.TOKENS_MANAGE, sync_to_thread=True)
def issue_token(home: Home, caller: Caller, machine_clock: MachineClock, data: JSONBody[TokenRequest]) -> IssuedToken:
    """Issue a token; it permits at most what the caller's own does."""
    secret, token = access_changes.issue_token(
        home,
        caller,
        principal=data.principal,
        name=data.name,
        scopes=data.scopes,
        valid_for=duration(data.expires_in),
        at=machine_clock.now(),
    )
    return IssuedToken(secret, _summary(token))


@delete("/tokens/{token_id:str}", permission=Permission.TOKENS_MANAGE, sync_to_thread=True)
def revoke_token(home: Home, caller: Caller, machine_clock: MachineClock, token_id: FromPath[str]) -> None:
    """End a token at once, also where only the manifest is known."""
    access_changes.revoke_token(home, caller, token_id, at=machine_clock.now())


def _summary(token: Token) -> TokenSummary:
    return msgspec.convert(token, TokenSummary, from_attributes=True)


HANDLERS = (list_tokens, issue_token, revoke_token)
