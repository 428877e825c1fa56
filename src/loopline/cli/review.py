"""`loopline review`."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from loopline.access.identity import Identity
from loopline.cli.options import AsJson, Home, Project, opened, operator, token_holder
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.clock import SystemClock
from loopline.labels.review import queue
from loopline.labels.review.counts import ReviewCounts
from loopline.labels.review.item import ReviewItem
from loopline.loop import reviewing
from loopline.loop.resources import Resources
from loopline.loop.reviewing import Review, Sight

app = typer.Typer(add_completion=False)

Id = Annotated[str, typer.Argument(metavar="REVIEW", help="The review, rev_....")]
Model = Annotated[str | None, typer.Option("--model", help="Only of this model.")]
State = Annotated[
    Literal["waiting", "answered", "skipped", "expired", "told", "all"],
    typer.Option("--state", help="Which: waiting by default, or all."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
Note = Annotated[str, typer.Option("--note", help="What else there is to say; it is kept with the answer.")]
ModelSaid = Annotated[
    bool, typer.Option("--model-said", help="Show what the model said, too; it sways whoever knows it.")
]
Clear = Annotated[
    bool, typer.Option("--clear", help="Show personal values; takes the permission, and stands in the ledger.")
]
Why = Annotated[str, typer.Option("--reason", help="Why personal values are shown; it goes into the ledger.")]


@app.callback(invoke_without_command=True)
def reviews(
    context: typer.Context,
    home: Home = None,
    project: Project = None,
    model: Model = None,
    state: State = "waiting",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Predictions that people label. LOOPLINE_TOKEN says who you are. Without a further word: list what waits."""
    if context.invoked_subcommand is None:
        list_reviews(home, project, model, state, limit, as_json)


@app.command(name="list")
def list_reviews(
    home: Home = None,
    project: Project = None,
    model: Model = None,
    state: State = "waiting",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List reviews, the costliest first."""
    resources, name = _placed(home, project)
    states = () if state == "all" else (state,)
    found = reviewing.list_reviews(resources, _who(resources), project=name, model=model, states=states, limit=limit)
    show(found, as_json=as_json, render=lambda console: _print(console, found))


@app.command()
def counts(home: Home = None, project: Project = None, as_json: AsJson = False) -> None:
    """How many reviews of each model stand where, and how often reviewers and true labels agree."""
    resources, name = _placed(home, project)
    found = reviewing.count_reviews(resources, _who(resources), project=name)
    show(found, as_json=as_json, render=lambda console: _print_counts(console, found))


@app.command(name="next")
def next_review(
    home: Home = None,
    project: Project = None,
    model: Model = None,
    model_said: ModelSaid = False,
    clear: Clear = False,
    reason: Why = "to review it",
    as_json: AsJson = False,
) -> None:
    """Claim the costliest review that nobody holds, and show it. What you hold already is shown again."""
    resources, name = _placed(home, project)
    sight = Sight(model_said, clear, reason)
    found = reviewing.next_review(
        resources, _who(resources), project=name, model=model, sight=sight, at=SystemClock().now()
    )
    show(found, as_json=as_json, render=lambda console: _print_one(console, found))


@app.command(name="show")
def show_review(
    id_: Id,
    home: Home = None,
    model_said: ModelSaid = False,
    clear: Clear = False,
    reason: Why = "to review it",
    as_json: AsJson = False,
) -> None:
    """Show one review, without claiming it."""
    resources, name = _found(home, id_)
    sight = Sight(model_said, clear, reason)
    found = reviewing.show_review(
        resources, _who(resources), project=name, review_id=id_, sight=sight, at=SystemClock().now()
    )
    show(found, as_json=as_json, render=lambda console: _print_one(console, found))


@app.command()
def answer(
    id_: Id,
    label: Annotated[str, typer.Argument(help="positive or negative, the name of a class, or a number.")],
    note: Note = "",
    correct: Annotated[bool, typer.Option("--correct", help="Take this for the label that was given.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give a review its label. The same again changes nothing."""
    resources, name = _found(home, id_)
    done = reviewing.answer_review(
        resources, _who(resources), project=name, review_id=id_, label=label, note=note, correct=correct
    )
    _told(done, f"{id_} is labelled {label} by {done.answers[-1].by}.", as_json=as_json)


@app.command()
def skip(id_: Id, note: Note = "", home: Home = None, as_json: AsJson = False) -> None:
    """Say that you cannot tell: somebody else is asked."""
    resources, name = _found(home, id_)
    done = reviewing.skip_review(resources, _who(resources), project=name, review_id=id_, note=note)
    told = "nobody else is asked" if done.state == "skipped" else "somebody else is asked"
    _told(done, f"{id_} is skipped: {told}.", as_json=as_json)


@app.command()
def release(id_: Id, home: Home = None, as_json: AsJson = False) -> None:
    """Give a claim back before its lease ends."""
    resources, name = _found(home, id_)
    done = reviewing.release_review(resources, _who(resources), project=name, review_id=id_)
    _told(done, f"{id_} is free.", as_json=as_json)


def _who(resources: Resources) -> Identity:
    """Whose token there is; else the user of this machine, who can open the home's files anyway."""
    return token_holder(resources) if os.environ.get("LOOPLINE_TOKEN") else operator()


def _placed(home: Path | None, project: str | None) -> tuple[Resources, str]:
    resources = opened(home)
    return resources, the_project(resources, project)


def _found(home: Path | None, review_id: str) -> tuple[Resources, str]:
    resources = opened(home)
    with resources.database.reading() as tx:
        return resources, queue.project_of(tx, review_id)


def _told(done: ReviewItem, text: str, *, as_json: bool) -> None:
    show(done, as_json=as_json, render=lambda console: console.print(text))


def _print(console: Console, found: list[ReviewItem]) -> None:
    if not found:
        console.print("No reviews.")
        return
    rows = [
        (one.id, one.model, one.key, one.reason, one.priority, one.propensity, one.state, one.claimed_by, one.expires_at, one.label, one.told)
        for one in found
    ]  # fmt: skip
    columns = [
        "review",
        "model",
        "key",
        "why",
        "cost at risk",
        "propensity",
        "state",
        "with",
        "until (UTC)",
        "label",
        "told",
    ]
    console.print(table("Reviews", columns, rows))


def _print_counts(console: Console, found: list[ReviewCounts]) -> None:
    if not found:
        console.print("No reviews.")
        return
    rows = [
        (one.model, one.waiting, one.held, one.oldest, one.answered, one.skipped, one.expired, one.told, f"{one.agreed} of {one.compared}")
        for one in found
    ]  # fmt: skip
    columns = ["model", "waiting", "held", "oldest (UTC)", "answered", "skipped", "expired", "told first", "agreed"]
    console.print(table("Reviews", columns, rows))


def _print_one(console: Console, found: Review | None) -> None:
    if found is None:
        console.print("Nothing waits for you.")
        return
    console.print(f"{found.id}: {found.model} for {found.key} as of {found.at:%Y-%m-%d %H:%M} UTC ({found.reason})")
    rows = [*found.features.items(), *((f"model: {name}", value) for name, value in found.said.items())]
    console.print(table("What is known", ["what", "value"], rows))
    console.print(f"Answer: loopline review answer {found.id} {'|'.join(found.choices) or 'NUMBER'}")
