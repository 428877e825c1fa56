"""`loopline approve`."""

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
    """Approve that a version enters an environment. LOOPLINE_TOKEN says who you are; the authors may not."""
    resources = opened(home)
    who = token_holder(resources)
    with resources.database.reading() as tx:
        project = handling.project_of_approval(tx, approval)
    done = handling.approve(resources, who, project=project, approval_id=approval, reason=reason)
    told = f"{done.subject} for {done.environment} is approved by {done.decided_by}."
    show(done, as_json=as_json, render=lambda console: console.print(told))
