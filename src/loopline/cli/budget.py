"""`loopline budget`."""

import typer
from rich.console import Console

from loopline.app.alone.shares import shares_of_slices
from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.config import Settings
from loopline.loop.budget import budgets
from loopline.monitoring.allotment import SLICES, ProjectBudget, Spent
from loopline.monitoring.power import Power
from loopline.values import duration_text

app = typer.Typer(add_completion=False)


@app.command()
def command(home: Home = None, project: Project = None, as_json: AsJson = False) -> None:
    """How many false pages are allowed, how they are shared out, what is spent, and how small a harm would be seen how soon."""
    resources = opened(home)
    chosen = the_project(resources, project) if project else None
    found = budgets(resources, chosen, shares_of_slices(Settings.read(home).home))
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[ProjectBudget]) -> None:
    if not found:
        console.print("Nothing is watched here yet: a monitor begins with the first champion.")
    for project in found:
        sees = [f"sees within {duration_text(one.within)}" for one in project.monitors[0].sees]
        columns = ["model", "monitor", "false pages a year", "blocks", "expected so far", "alarms", *sees]
        console.print(table(f"Budget of {project.project}", columns, [_row(one) for one in project.monitors]))
        declared = f", of {project.declared:g} declared" if project.declared else ""
        console.print(
            f"{project.project}: at most {project.false_pages_per_year:.3g} false pages a year{declared}; by chance at most "
            f"{project.expected:.2g} so far. There were {project.alarms} alarms, true or false."
        )


def _row(one: Spent) -> tuple[object, ...]:
    share = f"{one.false_pages_per_year:.3g}"
    alarms = "" if one.monitor == SLICES else one.alarms
    return one.model, one.monitor, share, one.blocks, f"{one.expected:.2g}", alarms, *map(_seen, one.sees)


def _seen(one: Power) -> str:
    return "nothing" if one.rise is None else f"{one.rise:.3g}"
