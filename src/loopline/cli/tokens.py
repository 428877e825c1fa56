"""`loopline tokens`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.access.principals import create_principal, get_principal, set_roles
from loopline.access.tokens import Token, issue_token, revoke_token, tokens
from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.clock import SystemClock
from loopline.errors import NotFound
from loopline.loop.deployment import publish
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.storage.database import Transaction
from loopline.values import duration

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def issue(
    principal: Annotated[str, typer.Argument(help="Who the token is for; made if unknown.")],
    role: Annotated[str, typer.Option("--role", help="viewer, scorer, operator, approver or admin.")] = "scorer",
    valid: Annotated[str, typer.Option("--valid", help="For how long, e.g. 12h or 90d.")] = "30d",
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Issue a token. Its secret is shown once and kept nowhere."""
    resources, now = opened(home), SystemClock().now()
    with resources.database.transaction() as tx:
        _ensure(tx, principal, role)
        secret, token = issue_token(
            tx, principal, scopes=None, expires_at=now + duration(valid), at=now, name=name or f"{role} token"
        )
    _publish_all(resources)
    value = {"secret": secret, "token": token}
    show(value, as_json=as_json, render=lambda console: _print_secret(console, secret, token))


@app.command(name="list")
def list_tokens(home: Home = None, as_json: AsJson = False) -> None:
    """Tokens, never their secrets."""
    with opened(home).database.reading() as tx:
        found = tokens(tx)
    rows = [(one.token_id, one.principal, one.name, one.expires_at, one.revoked_at) for one in found]
    columns = ["token", "principal", "name", "expires (UTC)", "revoked"]
    show(found, as_json=as_json, render=lambda console: console.print(table("Tokens", columns, rows)))


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="The token's id.")], home: Home = None, as_json: AsJson = False
) -> None:
    """Revoke a token at once, also where only the manifest is known."""
    resources = opened(home)
    with resources.database.transaction() as tx:
        revoke_token(tx, token, SystemClock().now())
    _publish_all(resources)
    value: dict[str, Any] = {"revoked": token}
    show(value, as_json=as_json, render=lambda console: console.print(f"{token} is revoked."))


def _ensure(tx: Transaction, principal: str, role: str) -> None:
    """The principal has at least this role."""
    try:
        found = get_principal(tx, principal)
    except NotFound:
        create_principal(tx, principal, "person", [role], SystemClock().now())
        return
    set_roles(tx, principal, [*found.roles, role])


def _publish_all(resources: Resources) -> None:
    """Scoring processes learn of tokens from the manifests."""
    with resources.database.reading() as tx:
        names = [name for name in projects(tx) if "." not in name]
    for name in names:
        publish(resources, name, at=SystemClock().now())


def _print_secret(console: Console, secret: str, token: Token) -> None:
    console.print(secret)
    console.print(
        f"[dim]{token.token_id} for {token.principal}, until {token.expires_at:%Y-%m-%d %H:%M} UTC. Keep it: it is shown once.[/]"
    )
