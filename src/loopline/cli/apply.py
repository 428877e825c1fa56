"""`loopline apply`."""

from typing import Annotated

import typer

from loopline.cli.options import AsJson, Home, LoopFile, actor, opened
from loopline.cli.output import show
from loopline.cli.plan import print_plan
from loopline.loop.decide import follow_declarations
from loopline.loop.load import load_loop
from loopline.loop.plan import apply

app = typer.Typer(add_completion=False)


@app.command()
def command(
    file: LoopFile,
    home: Home = None,
    accept_breaking: Annotated[
        bool, typer.Option("--accept-breaking", help="Also where it breaks what views, models or consumers read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a loop file the one in force, with an entry in the ledger. Applying it again changes nothing."""
    loop = load_loop(file)
    resources = opened(home, must_exist=False)
    now = resources.clock.now()
    made = apply(resources.database, loop, actor=actor(), at=now, accept_breaking=accept_breaking)
    follow_declarations(resources, loop.name, list(loop.operations), actor=actor())
    show(made, as_json=as_json, render=lambda console: print_plan(console, made, "did"))
