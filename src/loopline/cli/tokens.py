"""`loopline tokens`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.access.roles import ROLES, Role
from loopline.access.tokens import Token, tokens
from loopline.cli.options import AsJson, Home, opened, operator
from loopline.cli.output import show, table
from loopline.clock import SystemClock
from loopline.loop.access_changes import ensure_role, issue_token, revoke_token
from loopline.values import duration

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def issue(
    principal: Annotated[str, typer.Argument(help="Who the token is for; made if unknown.")],
    role: Annotated[Role, typer.Option("--role", help="What the token permits.")] = Role.SCORER,
    valid: Annotated[str, typer.Option("--valid", help="For how long, e.g. 12h or 90d.")] = "30d",
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Issue a token. Its secret is shown once and kept nowhere."""
    resources, now = opened(home), SystemClock().now()
    ensure_role(resources, operator(), name=principal, role=role, at=now)
    secret, token = issue_token(
        resources,
        operator(),
        principal=principal,
        name=name or f"{role} token",
        scopes=ROLES[role],
        valid_for=duration(valid),
        at=now,
    )
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
    revoke_token(opened(home), operator(), token, at=SystemClock().now())
    value: dict[str, Any] = {"revoked": token}
    show(value, as_json=as_json, render=lambda console: console.print(f"{token} is revoked."))


def _print_secret(console: Console, secret: str, token: Token) -> None:
    console.print(secret)
    console.print(
        f"[dim]{token.token_id} for {token.principal}, until {token.expires_at:%Y-%m-%d %H:%M} UTC. Keep it: it is shown once.[/]"
    )
