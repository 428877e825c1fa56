"""`loopline track`."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.run_command import run_command
from loopline.cli.options import AsJson, Home
from loopline.cli.output import show
from loopline.config import Settings

app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
def command(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    name: Annotated[str | None, typer.Option("--name", help="The experiment; the script's name by default.")] = None,
    project: Annotated[
        str, typer.Option("--project", envvar="LOOPLINE_PROJECT", help="The project it belongs to.")
    ] = "default",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run a command as a run: its arguments, commit, libraries, output and exit code are recorded. Exits as it does.

    `ll.track` inside of it logs into the same run. With --json what it prints goes to standard error.
    """
    run_id, code = run_command(Settings.read(home), command, name=name, project=project, quiet=as_json)
    if as_json:
        show({"run": run_id, "exit_code": code}, as_json=True, render=_nothing)
    else:
        place = f" --home {home}" if home and str(home) != os.environ.get("LOOPLINE_HOME") else ""
        sys.stderr.write(f"loopline: this was {run_id}; `loopline runs show {run_id}{place}`\n")
    if code:
        raise typer.Exit(code)


def _nothing(_: Console) -> None:
    """JSON is printed above."""
