"""`loopline endpoints`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.client.client import Client
from loopline.errors import AccessDenied, Unavailable
from loopline.loop.endpoints import LATELY, Endpoint, endpoints

app = typer.Typer(add_completion=False)

_ANSWERED = "loopline_scoring_predictions_total"
_SHADOWED = "loopline_scoring_shadows_total"


@app.command()
def command(
    lately: Annotated[str, typer.Option("--lately", help="How far back the log is looked at.")] = LATELY,
    url: Annotated[
        str, typer.Option("--url", envvar="LOOPLINE_SCORING_URL", help="A scoring process to ask for its counts, too.")
    ] = "",
    token: Annotated[str, typer.Option("--token", envvar="LOOPLINE_TOKEN", help="A token that may read status.")] = "",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """What is served where: each variant's version, share, rate of predictions, errors and times, and since when."""
    resources = opened(home)
    found = endpoints(resources, the_project(resources, project), lately=lately)
    counts = _counts(url, token) if url else None
    value: Any = {"endpoints": found, "process": counts} if url else found
    show(value, as_json=as_json, render=lambda console: _print(console, found, counts, url))


def _counts(url: str, token: str) -> list[dict[str, Any]] | None:
    """What the process counted since it started, by endpoint and variant; None where it does not say: what the log says is told
    all the same.
    """
    try:
        with Client(url, token) as client:
            samples = client.metrics()
    except (Unavailable, AccessDenied):
        return None
    return [
        {**labels, "predictions": int(value)}
        for name, labels, value in samples
        if name in {_ANSWERED, _SHADOWED} and "endpoint" in labels
    ]


def _print(console: Console, found: list[Endpoint], counts: list[dict[str, Any]] | None, url: str) -> None:
    rows = [
        (
            one.endpoint,
            served.variant,
            served.role if served.role != served.variant else None,
            served.version or "fallback",
            f"{served.share:.2%}",
            served.since,
            f"{served.rate:.4g}",
            None if served.errors is None else f"{served.errors:.2%}",
            served.p50_ms,
            served.p99_ms,
        )
        for one in found
        for served in one.served
    ]
    columns = [
        "endpoint",
        "variant",
        "role",
        "version",
        "share",
        "since (UTC)",
        "rows/min",
        "errors",
        "p50 ms",
        "p99 ms",
    ]
    console.print(table("Endpoints", columns, rows))
    if url and counts is None:
        console.print(f"[dim]{url} does not say what it counted: is it running, and may the token read its status?[/]")
    if counts is not None:
        told = [(one["endpoint"], one["variant"], one.get("became", "answered"), one["predictions"]) for one in counts]
        console.print(table("Since the process started", ["endpoint", "variant", "became", "predictions"], told))
