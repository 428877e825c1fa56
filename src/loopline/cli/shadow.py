"""`loopline shadow`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_model, the_project
from loopline.cli.shares import the_variant
from loopline.gates.variants import SHADOW
from loopline.loop.deploy import environment_of, stop
from loopline.loop.load import load_loop
from loopline.loop.shadow import Comparison, compare, the_shadow

app = typer.Typer(add_completion=False)


@app.command()
def command(
    model: Annotated[str | None, typer.Argument(help="The model; needed where the project has several.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Which shadow; the newest by default.")] = None,
    loop: Annotated[
        Path | None, typer.Option("--loop", help="The loop file: it says what labels are, and so what the regret is.")
    ] = None,
    environment: Annotated[str | None, typer.Option("--environment", help="Where; in production by default.")] = None,
    stopped: Annotated[bool, typer.Option("--stop", help="Take the shadow away.")] = False,
    reason: Reason = "stopped on the command line",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Compare a shadow with the champion on the rows that both scored: agreement, differences, and the loss of either where labels came."""
    resources = opened(home)
    chosen = the_project(resources, project)
    found = the_model(resources, chosen, model)
    if stopped:
        one = the_variant(resources, chosen, found, environment=environment, name=name, role=SHADOW)
        done = stop(resources, one, actor=actor(), reason=reason)
        show(done, as_json=as_json, render=lambda console: console.print(done.sentence))
        return
    with resources.database.reading() as tx:
        place = environment_of(tx, chosen, found, environment)
    shadow = the_shadow(resources, chosen, found, place, name)
    compared = compare(resources, shadow, None if loop is None else load_loop(loop))
    show(compared, as_json=as_json, render=lambda console: _print(console, compared))


def _print(console: Console, told: Comparison) -> None:
    rows = [
        ("rows that both scored", told.rows),
        ("equal decisions", f"{told.agreed:.2%}" if told.agreed is not None else None),
        ("score: mean difference", told.mean_difference),
        ("score: mean absolute difference", told.mean_absolute),
        ("score: largest difference", told.most_absolute),
        ("champion's answer, median ms", told.champion_ms),
        ("shadow's scoring, median ms", told.shadow_ms),
    ]
    title = f"{told.name} (version {told.version}) in the shadow of {told.endpoint}'s champion"
    console.print(table(title, ["", "value"], rows))
    if told.changes:
        changes = [(one.champion, one.shadow, one.rows) for one in told.changes]
        console.print(table("Decisions that differ", ["champion", "shadow", "rows"], changes))
    if told.regret is not None:
        found, apart = told.regret, told.regret.difference
        within = "" if apart is None else f" (95 %: {apart.lower:.4g} to {apart.upper:.4g})"
        console.print(
            f"On {found.rows} labelled rows the champion's {found.loss} is {found.champion:.4g} and the shadow's {found.shadow:.4g}: "
            f"a regret of {found.champion - found.shadow:+.4g}{within}."
        )
