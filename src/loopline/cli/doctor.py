"""`loopline doctor`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.app.doctor.examine import examine
from loopline.app.doctor.finding import Finding
from loopline.cli.options import AsJson, Home, existing
from loopline.cli.output import show

app = typer.Typer(add_completion=False)

FOUND = 10


@app.command()
def command(
    home: Home = None,
    mend: Annotated[bool, typer.Option("--mend", help="Put right what can safely be put right.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte of tables and artifacts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look a home over: what is wrong, what it means, what to do. Changes nothing without --mend.

    Exit code 10 where an error or a warning is left.
    """
    found = examine(existing(home), mend=mend, deep=deep)
    told = [finding.as_dict() for finding in found]
    show(told, as_json=as_json, render=lambda console: _print(console, found))
    if any(finding.severity != "note" and not finding.mended for finding in found):
        raise typer.Exit(FOUND)


def _print(console: Console, found: list[Finding]) -> None:
    for finding in found:
        console.print(f"[bold]{finding.severity}[/] \\[{finding.code}] {finding.what}.")
        console.print(f"  {finding.means}", style="dim")
        console.print(f"  {f'Mended: {finding.mended}.' if finding.mended else finding.remedy}")
    if not found:
        console.print("Nothing is wrong.")
    elif any(finding.mendable and not finding.mended for finding in found):
        console.print("\nPut right what can be: loopline doctor --mend")
