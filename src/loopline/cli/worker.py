"""`loopline worker`."""

import sys
from contextlib import closing
from dataclasses import replace
from typing import Annotated

import typer

from loopline.app.execute import work
from loopline.app.executor import ExecutorName
from loopline.cli.options import AsJson, Home
from loopline.cli.output import show
from loopline.config import Settings
from loopline.pipelines.home import PipelineHome

app = typer.Typer(add_completion=False)


@app.command()
def command(
    home: Home = None,
    cores: Annotated[
        float | None, typer.Option("--cores", help="How many cores its steps may take; all by default.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help='How much memory they may take, e.g. "8GB"; 90 % by default.')
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", help="Seconds that running steps are given to finish when it is stopped.")
    ] = 60.0,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Stop when no execution of the home is left running.")
    ] = False,
    executor: Annotated[
        ExecutorName, typer.Option("--executor", help="Where steps run: on this machine, or on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="HOST:PORT of the Ray cluster's head; LOOPLINE_RAY_ADDRESS by default, else one is started here.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the steps of pipelines until it is stopped. At SIGTERM or Ctrl-C it takes no more, lets what runs finish, and gives back the rest."""
    settings = Settings.read(home)
    if address is not None:
        settings = replace(settings, ray_address=address)
    with closing(PipelineHome(settings)) as opened:
        if not as_json:
            sys.stderr.write(f"Working for {opened.settings.home}; Ctrl-C or SIGTERM stops it in order.\n")
        done = work(opened, cores=cores, memory=memory, grace=grace, until_idle=until_idle, executor=executor)
    show({"steps": done}, as_json=as_json, render=lambda console: console.print(f"It ran {done} steps."))
