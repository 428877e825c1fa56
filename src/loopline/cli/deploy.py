"""`loopline deploy`."""

from typing import Annotated, Any

import typer

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show
from loopline.cli.projects import the_model, the_project
from loopline.cli.shares import share
from loopline.errors import InvalidInput
from loopline.gates.canary_terms import CanaryTerms, canary_terms
from loopline.gates.variants import CANARY, SHADOW, SPLIT, Wanted
from loopline.loop.changes import promote
from loopline.loop.deploy import deploy, environment_of
from loopline.loop.resources import Resources

app = typer.Typer(add_completion=False)

_KEY = "key"


@app.command()
def command(
    version: Annotated[str, typer.Argument(help="MODEL:VERSION, or VERSION where the project has one model.")],
    canary: Annotated[
        str | None, typer.Option("--canary", help="Let it answer this share, e.g. 5%, and watch it.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Let it answer this share, e.g. 50%, as an arm of an A/B test.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Let it score in the background; nobody gets its answers.")
    ] = False,
    share_of_shadow: Annotated[str, typer.Option("--share", help="With --shadow: which share of the keys.")] = "100%",
    by: Annotated[str, typer.Option("--by", help="What is shared out: keys, each always to the same.")] = _KEY,
    name: Annotated[str, typer.Option("--name", help="What it is called; v and the version by default.")] = "",
    environment: Annotated[str | None, typer.Option("--environment", help="Where; in production by default.")] = None,
    errors: Annotated[
        float,
        typer.Option(
            "--errors", help="Canary: by how much its share of failed answers (degraded: half) may be higher."
        ),
    ] = 0.01,
    slow: Annotated[
        float, typer.Option("--slow", help="Canary: by how much its share of slow answers may be; 0 leaves time out.")
    ] = 0.02,
    labels: Annotated[
        float | None, typer.Option("--labels", help="Canary: by how much its mean loss on matured labels may be.")
    ] = None,
    loss: Annotated[str, typer.Option("--loss", help="Canary: the loss for --labels, e.g. brier.")] = "",
    cap: Annotated[
        float | None, typer.Option("--cap", help="Canary: where a loss without an upper bound is cut.")
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Canary: the most probable that a verdict may be wrong.")
    ] = 0.05,
    min_rows: Annotated[int, typer.Option("--min-rows", help="Canary: rows of its own before it is promoted.")] = 500,
    min_time: Annotated[str, typer.Option("--min-time", help="Canary: how long it is watched at least.")] = "10m",
    step: Annotated[
        list[str] | None,
        typer.Option("--step", help="Canary: a share to grow to before it is promoted; may be repeated."),
    ] = None,
    watch_only: Annotated[
        bool, typer.Option("--watch-only", help="Canary: roll it back where it does harm, but leave promoting to you.")
    ] = False,
    reason: Reason = "deployed on the command line",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Put a version in service: in the champion's place, or beside it as a canary, a split or a shadow.

    Without --canary, --split or --shadow this is `loopline promote`.
    """
    resources = opened(home)
    found = the_project(resources, project)
    said, _, number = version.rpartition(":")
    if not number.isdigit():
        raise typer.BadParameter("give MODEL:VERSION, e.g. late_arrival:3", param_hint="VERSION")
    model = the_model(resources, found, said or None)
    role, wanted_share = _role(canary, split, share_of_shadow if shadow else None)
    if role is None:
        done = promote(
            resources,
            project=found,
            model=model,
            version=int(number),
            actor=actor(),
            reason=reason,
            to=environment,
        )
    else:
        if by != _KEY:
            raise InvalidInput(
                "deploy.only_by_key", f"variants cannot be shared out by {by!r}", remedy="Leave --by out, or say key."
            )
        terms = (
            canary_terms(
                alpha=alpha,
                errors=errors,
                slow=slow or None,
                labels=labels,
                loss=loss,
                cap=cap,
                min_rows=min_rows,
                min_time=min_time,
                steps=[share(one) for one in step or ()],
                promotes=not watch_only,
            )
            if role == CANARY
            else None
        )
        wanted = _wanted(
            resources,
            found,
            model,
            environment,
            version=int(number),
            role=role,
            share=wanted_share,
            name=name,
            terms=terms,
        )
        done = deploy(resources, wanted, actor=actor(), reason=reason)
    show(done, as_json=as_json, render=lambda console: console.print(done.sentence))


def _role(canary: str | None, split: str | None, shadow: str | None) -> tuple[Any, float]:
    """The role and its share; None where the version is to be the champion."""
    said = [(role, text) for role, text in ((CANARY, canary), (SPLIT, split), (SHADOW, shadow)) if text is not None]
    if len(said) > 1:
        raise InvalidInput(
            "deploy.one_role", "a version is a canary, a split or a shadow", remedy="Say only one of them."
        )
    return (said[0][0], share(said[0][1])) if said else (None, 1.0)


def _wanted(
    resources: Resources,
    project: str,
    model: str,
    environment: str | None,
    *,
    version: int,
    role: Any,
    share: float,
    name: str,
    terms: CanaryTerms | None,
) -> Wanted:
    with resources.database.reading() as tx:
        place = environment_of(tx, project, model, environment)
    return Wanted(
        project=project, model=model, environment=place, version=version, role=role, share=share, name=name, terms=terms
    )
