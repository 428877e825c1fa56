"""`loopline adopt`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.adopting.adopt import Adopted, adopt
from loopline.app.adopting.write import write_pipeline
from loopline.cli.options import AsJson
from loopline.cli.output import show, table

app = typer.Typer(add_completion=False)

FOUND = 10


@app.command()
def command(
    source: Annotated[Path, typer.Argument(help="A notebook (.ipynb) or a Python script. It is read, never run.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Write the pipeline here; it must not exist yet. Without it is printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a notebook or a script into a pipeline file: steps of its cells, params of its constants, and what a person must decide.

    Exits with 10 where something blocks; then nothing is written.
    """
    made = adopt(source)
    if to is not None and not made.blocked:
        write_pipeline(made, to)
    if as_json:
        show(made, as_json=True, render=lambda _: None)
    elif to is None:
        sys.stdout.write(made.text)
        _findings(Console(stderr=True, highlight=False), made)
    else:
        show(made, as_json=False, render=lambda console: _print(console, made, to))
    if made.blocked:
        raise typer.Exit(FOUND)


def _print(console: Console, made: Adopted, to: Path) -> None:
    if not made.blocked:
        console.print(f"{to}: pipeline `{made.pipeline}`, {len(made.steps)} steps", markup=False, soft_wrap=True)
        rows = [
            [step.name, ", ".join(step.inputs), ", ".join(step.outputs), ", ".join(step.reads), ", ".join(step.writes)]
            for step in made.steps
        ]
        console.print(table("Steps", ["step", "takes", "gives", "reads", "writes"], rows))
    _findings(console, made)


def _findings(console: Console, made: Adopted) -> None:
    for weight, title in (("blocks", "Blocks: mend it first"), ("decide", "For you to decide"), ("note", "To know")):
        found = [one for one in made.findings if one.weight == weight]
        if found:
            console.print(f"\n[bold]{title}[/]")
        for one in found:
            console.print(f"  {one.where}: {one.what}", markup=False, soft_wrap=True)
            console.print(f"    {one.do}", markup=False, soft_wrap=True, style="dim")
