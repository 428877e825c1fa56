"""`loopline decisions`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_model, the_project
from loopline.errors import InvalidInput
from loopline.loop.decision_history import DecisionSummary, decision_summaries
from loopline.loop.decision_rollback import roll_back_decision

app = typer.Typer(add_completion=False)

ROLLBACK = "rollback"


@app.command()
def command(
    what: Annotated[
        str | None, typer.Argument(metavar="[rollback] [MODEL]", help="The model; needed where there are several.")
    ] = None,
    model: Annotated[str | None, typer.Argument(hidden=True)] = None,
    to: Annotated[
        int | None, typer.Option("--to", help="With rollback: the decision to bring back; the earlier one by default.")
    ] = None,
    reason: Reason = "rolled back on the command line",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """The decisions of a model: costs, thresholds, what they were expected to cost and did. `rollback` brings an earlier one back.

    A rollback of a decision never changes the model.
    """
    resources = opened(home)
    name = the_project(resources, project)
    if what == ROLLBACK:
        chosen = the_model(resources, name, model)
        done = roll_back_decision(resources, project=name, model=chosen, actor=actor(), reason=reason, to=to)
        show(done, as_json=as_json, render=lambda console: console.print(done.sentence))
        return
    if model is not None or to is not None:
        raise InvalidInput(
            "decisions.usage",
            "a model is listed by its name alone",
            remedy="Say `loopline decisions [rollback] MODEL`.",
        )
    chosen = the_model(resources, name, what)
    with resources.database.reading() as tx:
        found = decision_summaries(tx, name, chosen)
    show(found, as_json=as_json, render=lambda console: _print(console, chosen, found))


def _print(console: Console, model: str, found: list[DecisionSummary]) -> None:
    if not found:
        console.print(f"{model} has no decisions yet.")
        return
    rows = [
        (
            one.version,
            "in force" if one.in_force else "",
            one.since,
            _costs(one.terms),
            one.threshold,
            f"{one.abstain_low:.3g} to {one.abstain_high:.3g}" if one.abstain_low != one.abstain_high else "none",
            _interval(one.expected),
            _interval(one.measured),
            one.by,
            one.reason,
        )
        for one in found
    ]
    columns = [
        "version",
        "",
        "since (UTC)",
        "fp / fn",
        "threshold",
        "abstains",
        "expected cost",
        "measured",
        "by",
        "why",
    ]
    console.print(table(f"Decisions of {model}", columns, rows))


def _costs(terms: dict[str, Any] | None) -> str | None:
    return None if terms is None else f"{terms['spec']['false_positive']:g} / {terms['spec']['false_negative']:g}"


def _interval(found: Any) -> str | None:
    if found is None:
        return None
    mean, lower, upper = (
        found[name] if isinstance(found, dict) else getattr(found, name) for name in ("mean", "lower", "upper")
    )
    return f"{mean:.4g}" if lower is None or upper is None else f"{mean:.4g} ({lower:.4g} to {upper:.4g})"
