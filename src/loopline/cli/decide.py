"""`loopline decide`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, actor, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_model, the_project
from loopline.errors import InvalidInput
from loopline.loop.decide import Asked, Effect, Proposal, decide, propose

app = typer.Typer(add_completion=False)


@app.command()
def command(
    model: Annotated[str | None, typer.Argument(help="The model; needed where the project has several.")] = None,
    false_positive: Annotated[
        float | None, typer.Option("--false-positive", help="What a false positive costs.")
    ] = None,
    false_negative: Annotated[
        float | None, typer.Option("--false-negative", help="What a false negative costs.")
    ] = None,
    review: Annotated[float | None, typer.Option("--review", help="What a review costs.")] = None,
    abstain_at_most: Annotated[
        float | None, typer.Option("--abstain-at-most", help="The share of predictions that may go to review.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Decide positive from this probability on, whatever follows from costs."),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it goes into the ledger.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Decide on other costs: fitted for the champion that serves, tried, and put in force. The model stays as it is.

    What is not said stays as it is in force. A threshold holds until other costs are given.
    """
    resources = opened(home)
    name = the_project(resources, project)
    chosen = the_model(resources, name, model)
    asked = Asked(
        false_positive=false_positive,
        false_negative=false_negative,
        review=review,
        abstain_at_most=abstain_at_most,
        threshold=threshold,
    )
    if dry_run:
        made = propose(resources, project=name, model=chosen, asked=asked)
    elif reason is None:
        raise InvalidInput(
            "decision.no_reason", "a decision is not changed without a reason", remedy="Say --reason, or --dry-run."
        )
    else:
        made = decide(resources, project=name, model=chosen, asked=asked, actor=actor(), reason=reason)
    show(made, as_json=as_json, render=lambda console: _print(console, made))


def _print(console: Console, made: Proposal) -> None:
    console.print(made.sentence)
    rows = [
        (told, effect.rows, _interval(effect, "before"), _interval(effect, "after"), _interval(effect, "difference"))
        for told, effect in (("held-out rows, by label", made.measured), ("last 28 days, expected", made.recent))
        if effect is not None
    ]
    if rows:
        columns = ["cost per prediction", "rows", "before", "after", "difference"]
        console.print(table("At the new prices", columns, rows))
    if made.version is not None:
        console.print(f"Bring the earlier one back: loopline decisions rollback {made.model}")


def _interval(effect: Effect, name: str) -> str:
    found = getattr(effect, name)
    return f"{found.mean:.4g} ({found.lower:.4g} to {found.upper:.4g})"
