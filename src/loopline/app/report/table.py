"""Tables: the comparison, its counts, and the months behind the chart."""

from collections.abc import Mapping

from loopline.app.report.figure import MISSING, count, fixed
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.measure import TITLES, Cell, Row, loss_decimals, rows
from loopline.app.report.style import series
from loopline.loop.compare import Comparison, Month

_COUNTS = (
    ("Predictions", "in the whole period", "predictions"),
    ("Labelled", "", "labelled"),
    ("Unlabelled", "", "unlabelled"),
    ("Judged", "labelled, since the first champion", "evaluated"),
)


def comparison_table(comparison: Comparison) -> Markup:
    """Policies side by side, measure by measure, then the counts the figures come from."""
    head = element("tr", column("Measure"), *policy_columns(comparison))
    measured = [_measure_row(row) for row in rows(comparison)]
    counted = [_count_row(comparison, *each) for each in _COUNTS]
    return table(
        "Policies side by side.", head, element("tbody", *measured) + element("tbody", *counted, class_="counts")
    )


def months_table(comparison: Comparison, constants: Mapping[str, float | None]) -> Markup:
    """The figures of the chart of months."""
    by_policy = [{found.month: found for found in result.months} for result in comparison.policies]
    months = sorted({month for found in by_policy for month in found})
    head = element(
        "tr",
        column("Month (UTC)"),
        *(column(label, number=True) for label in ("Labelled", "Mean label", "Best constant")),
        *policy_columns(comparison),
    )
    decimals = loss_decimals(comparison)
    body = [
        _month_row(month, [found.get(month) for found in by_policy], constants.get(month), decimals) for month in months
    ]
    return table(
        f"Mean {TITLES[comparison.loss].lower()} by month of prediction, over labelled predictions.",
        head,
        element("tbody", *body),
    )


def table(caption: str, head: str, body: str, class_: str = "") -> Markup:
    """A table that scrolls sideways on its own where it is too wide, also with the keyboard."""
    content = element("table", element("caption", caption), element("thead", head), Markup(body), class_=class_ or None)
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)


def column(label: str, *, number: bool = False) -> Markup:
    """The header of a column."""
    return element("th", label, scope="col", class_="number" if number else None)


def policy_columns(comparison: Comparison) -> list[Markup]:
    """A header for each policy, with the colour of its line."""
    return [
        element("th", key(number), element("span", result.policy, class_="called"), scope="col", class_="number")
        for number, result in enumerate(comparison.policies)
    ]


def key(number: int) -> Markup:
    """The colour of a policy beside its name."""
    return element("span", class_=f"key {series(number)}", aria_hidden="true")


def _measure_row(row: Row) -> Markup:
    return element("tr", _row_header(row.label, row.note), *map(_measure_cell, row.cells))


def _row_header(label: str, note: str) -> Markup:
    return element("th", label, *([" ", element("small", note)] if note else []), scope="row")


def _measure_cell(cell: Cell) -> Markup:
    star = [element("span", "★", class_="star", title="best", role="img", aria_label="best"), " "] if cell.best else []
    gap = _gap(cell) if cell.difference else []
    return element("td", *star, element("b" if cell.best else "span", cell.text), *gap, class_="number")


def _gap(cell: Cell) -> list[Markup]:
    interval = [element("small", cell.interval)] if cell.interval else []
    return [
        Markup(" "),
        element("small", f"{cell.difference} {cell.verdict}", class_=_tone(cell)),
        Markup(" "),
        *interval,
    ]


def _tone(cell: Cell) -> str:
    return cell.verdict if cell.verdict in {"worse", "better"} else "unclear"


def _count_row(comparison: Comparison, label: str, note: str, field: str) -> Markup:
    cells = [element("td", count(getattr(result, field)), class_="number") for result in comparison.policies]
    return element("tr", _row_header(label, note), *cells)


def _month_row(month: str, found: list[Month | None], constant: float | None, decimals: int) -> Markup:
    first = next(each for each in found if each is not None)
    labelled = {each.labelled for each in found if each is not None}
    shared = [
        count(first.labelled) if len(labelled) == 1 else "varies",
        fixed(first.mean_label, 3),
        fixed(constant, decimals),
    ]
    losses = [fixed(each.loss, decimals) if each else MISSING for each in found]
    return element(
        "tr",
        element("th", month, scope="row"),
        join(element("td", shown, class_="number") for shown in [*shared, *losses]),
    )
