"""`loopline reject`."""

from typing import Annotated

import typer

from loopline.cli.options import AsJson, Home, opened, token_holder
from loopline.cli.output import show
from loopline.loop import handling

app = typer.Typer(add_completion=False)


@app.command()
def command(
    approval: Annotated[str, typer.Argument(help="The approval, apr_....")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the ledger.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Refuse it for good, also where it was approved and not yet used. LOOPLINE_TOKEN says who you are."""
    resources = opened(home)
    who = token_holder(resources)
    with resources.database.reading() as tx:
        project = handling.project_of_approval(tx, approval)
    done = handling.reject(resources, who, project=project, approval_id=approval, reason=reason)
    told = f"{done.subject} for {done.environment} is rejected by {done.decided_by}."
    show(done, as_json=as_json, render=lambda console: console.print(told))
