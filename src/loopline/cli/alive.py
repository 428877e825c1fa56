"""`loopline alive`."""

from typing import Annotated

import typer

from loopline.app.alive import alive
from loopline.cli.options import AsJson, Home
from loopline.cli.output import show
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.values import duration

app = typer.Typer(add_completion=False)


@app.command()
def command(
    within: Annotated[str, typer.Option("--within", help="How old the last sign of life may be.")] = "2h",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """For cron, here or elsewhere: end with 8 unless `up` completed its turns in time lately. It reads the database only."""
    found = alive(Settings.read(home), within=duration(within), now=SystemClock().now())
    lines = [f"{one.loop} is alive: {one.sentence} at {one.at:%Y-%m-%d %H:%M} UTC." for one in found]
    show(found, as_json=as_json, render=lambda console: console.print("\n".join(lines)))
