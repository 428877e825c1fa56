"""`loopline sources`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.loop.load import load_loop
from loopline.loop.probe import Probed, probe
from loopline.loop.status import ProjectStatus, status
from loopline.values import Window, duration

app = typer.Typer(add_completion=False)

UNAVAILABLE = 8


@app.command()
def command(
    home: Home = None,
    file: Annotated[
        Path | None, typer.Option("--probe", help="Ask each source of this loop file for real, and keep nothing.")
    ] = None,
    window: Annotated[str, typer.Option("--window", help="With --probe: how long a window to ask for.")] = "1d",
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="With --probe: the window's end (UTC); now by default.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--source", help="With --probe: only this one; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List sources: newest row, freshness, how it went when they were asked last. Or try each, with --probe."""
    if file is None:
        found = [one for one in status(opened(home)) if one.sources]
        show([one.sources for one in found], as_json=as_json, render=lambda console: _print(console, found))
        return
    end = until.replace(tzinfo=UTC) if until else SystemClock().now()
    resources = opened(home) if Settings.read(home).keys_path.exists() else None
    tried = probe(load_loop(file), Window(end - duration(window), end), resources=resources, only=only or ())
    show(tried, as_json=as_json, render=lambda console: _print_probe(console, tried))
    if not all(one.ok for one in tried):
        raise typer.Exit(UNAVAILABLE)


def _print(console: Console, found: list[ProjectStatus]) -> None:
    if not found:
        console.print("No loop was applied here yet: `loopline apply FILE`.")
    columns = [
        "table",
        "state",
        "newest row (UTC)",
        "fresh within",
        "asked (UTC)",
        "until (UTC)",
        "took",
        "rows",
        "quarantined",
    ]
    for project in found:
        rows = [
            (
                one.table,
                one.state if not one.failures else f"failing ({one.failures})",
                one.newest,
                one.freshness,
                one.asked,
                one.until,
                None if one.seconds is None else f"{one.seconds:.2f} s",
                one.rows,
                one.quarantined,
            )
            for one in project.sources
        ]
        console.print(table(f"Sources of {project.project}", columns, rows))
        for one in project.sources:
            if one.error:
                console.print(f"{one.table}: {one.error}", markup=False, style="yellow")


def _print_probe(console: Console, tried: list[Probed]) -> None:
    rows = [
        (
            one.source,
            "ok" if one.ok else "failed",
            f"{one.seconds:.2f} s",
            one.rows,
            one.newest,
            one.quarantined,
            _reasons(one),
        )
        for one in tried
    ]
    console.print(table("Probe", ["source", "state", "took", "rows", "newest (UTC)", "quarantined", "reasons"], rows))
    for one in tried:
        if not one.ok:
            console.print(f"{one.source}: {one.error} [{one.code}]", markup=False, style="red")
            console.print(f"  {one.remedy}", markup=False)


def _reasons(one: Probed) -> str | None:
    return ", ".join(f"{name} {count}" for name, count in one.reasons.items()) or None
