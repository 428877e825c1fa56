"""`loopline canary`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_model, the_project
from loopline.cli.shares import share, the_variant
from loopline.errors import InvalidInput
from loopline.gates.variants import CANARY, Deployed
from loopline.incidents.actions import Outcome
from loopline.loop.canary_status import CanaryStatus, canaries
from loopline.loop.deploy import change_share, promote_variant, stop
from loopline.loop.resources import Resources

app = typer.Typer(add_completion=False)


@app.command()
def command(
    model: Annotated[str | None, typer.Argument(help="The model; all by default.")] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Which variant to change; the canary by default, a split needs its name."),
    ] = None,
    environment: Annotated[str | None, typer.Option("--environment", help="Where; in production by default.")] = None,
    grow: Annotated[str | None, typer.Option("--share", help="Give it this share, e.g. 10%.")] = None,
    promoted: Annotated[bool, typer.Option("--promote", help="Make it the champion now.")] = False,
    stopped: Annotated[bool, typer.Option("--stop", help="Take it away; the champion answers its keys.")] = False,
    also_ended: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    reason: Reason = "changed on the command line",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """What runs beside champions and how canaries stand; or change one: its share, promote it, stop it.

    Evidence is shown as a share of what a verdict takes: at 100 % of harm a canary is rolled back, and with 100 % of soundness in every
    measure it is promoted.
    """
    resources = opened(home)
    chosen = the_project(resources, project)
    asked = [grow is not None, promoted, stopped]
    if sum(asked) > 1:
        raise InvalidInput("canary.one_change", "only one change at a time", remedy="Say --share, --promote or --stop.")
    if not any(asked):
        found = canaries(resources, chosen, model=model, also_ended=also_ended)
        show(found, as_json=as_json, render=lambda console: _print(console, found))
        return
    role = None if name else CANARY
    one = the_variant(
        resources, chosen, the_model(resources, chosen, model), environment=environment, name=name, role=role
    )
    done = _change(resources, one, reason, grow=grow, promoted=promoted)
    show(done, as_json=as_json, render=lambda console: console.print(done.sentence))


def _change(resources: Resources, one: Deployed, reason: str, *, grow: str | None, promoted: bool) -> Outcome:
    if grow is not None:
        return change_share(resources, one, share(grow), actor=actor(), reason=reason)
    if promoted:
        return promote_variant(resources, one, actor=actor(), reason=reason)
    return stop(resources, one, actor=actor(), reason=reason)


def _print(console: Console, found: list[CanaryStatus]) -> None:
    if not found:
        console.print("Nothing runs beside a champion: `loopline deploy MODEL:VERSION --canary 5%`.")
        return
    rows = [
        (
            one.deployed.model,
            one.deployed.environment,
            one.deployed.name,
            one.deployed.role,
            one.deployed.version,
            f"{one.deployed.share:.2%}",
            one.deployed.started_at,
            one.deployed.outcome or one.waits or one.deployed.state,
        )
        for one in found
    ]
    columns = ["model", "environment", "variant", "role", "version", "share", "since (UTC)", "state"]
    console.print(table("Beside champions", columns, rows))
    for one in found:
        if one.measures:
            console.print(
                table(
                    f"{one.deployed.name} against version {one.deployed.against}",
                    ["measure", "its rows", "its mean", "champion's", "tolerated", "harm shown", "soundness shown"],
                    [
                        (
                            measure.name,
                            measure.rows,
                            measure.canary,
                            measure.champion,
                            f"+{measure.tolerance:g}",
                            f"{measure.harm:.0%}",
                            f"{measure.sound:.0%}",
                        )
                        for measure in one.measures
                    ],
                )
            )
