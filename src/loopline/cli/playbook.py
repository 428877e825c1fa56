"""`loopline playbook`."""

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, LoopFile, opened
from loopline.cli.output import show, table
from loopline.loop.load import load_loop
from loopline.loop.rehearsal import Rehearsal, rehearse

app = typer.Typer(add_completion=False)


@app.command()
def command(file: LoopFile, home: Home = None, as_json: AsJson = False) -> None:
    """What the playbook in a loop file would do at the next turn, and why; nothing is done. The file need not be applied."""
    found = rehearse(opened(home), load_loop(file))
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[Rehearsal]) -> None:
    for one in found:
        rows = [
            (place, each.action, "yes" if each.matches else "no", each.reason, each.waits or None)
            for place, each in enumerate(one.responses, 1)
        ]
        title = f"Playbook of {one.project}: {one.model}, turn to {one.end:%Y-%m-%d %H:%M} UTC"
        console.print(table(title, ["", "action", "matches", "why", "waits"], rows))
        for lasting in one.measures:
            console.print(
                f"In force since {lasting.since:%Y-%m-%d %H:%M} UTC: {lasting.name}, for {', '.join(lasting.answers)}."
            )
        console.print(_would(one))


def _would(one: Rehearsal) -> str:
    if one.would is None:
        return "Nothing would be done."
    held = f" It waits: {one.would.waits}." if one.would.waits else ""
    return f"{one.would.name} would be carried out: {one.would.sentence}.{held}"
