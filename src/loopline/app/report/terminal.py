"""The comparison for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loopline.app.report.choice import choice_text
from loopline.app.report.counts import counts_sentence
from loopline.app.report.figure import moment
from loopline.app.report.headline import headline
from loopline.app.report.measure import Cell, Row, rows
from loopline.loop.choose import Choice
from loopline.loop.compare import Comparison

_COLOURS = {"worse": "yellow", "better": "green"}


def report_text(comparison: Comparison, choice: Choice | None = None) -> RenderableType:
    """The headline, the comparison table, the counts, and the choice of a policy, to print with rich. Names are text, never console markup."""
    told = Text(" ".join(headline(comparison)))
    table = Table(title=Text(f"{comparison.loop}: {comparison.model}"), caption=_caption(comparison), show_lines=True)
    table.add_column("")
    for result in comparison.policies:
        table.add_column(Text(result.policy), justify="right", overflow="fold")
    for row in rows(comparison):
        table.add_row(*_cells(row))
    chosen: list[RenderableType] = [Text(), choice_text(choice)] if choice else []
    return Group(told, Text(), table, Text(counts_sentence(comparison)), *chosen)


def _cells(row: Row) -> list[RenderableType]:
    return [Text(row.label), *(_cell(cell) for cell in row.cells)]


def _cell(cell: Cell) -> Text:
    text = Text(f"{cell.text} *" if cell.best else cell.text, style="bold" if cell.best else "")
    if cell.difference:
        text.append(
            f"\n{cell.difference} {cell.verdict}\n{cell.interval}".rstrip(), style=_COLOURS.get(cell.verdict, "dim")
        )
    return text


def _caption(comparison: Comparison) -> Text:
    return Text(
        f"{moment(comparison.start)} to {moment(comparison.until)} UTC, judged since {moment(comparison.since)}. "
        "* best of its row. Below a figure: what it is more than the loop's, with its 95 % interval over days."
    )
