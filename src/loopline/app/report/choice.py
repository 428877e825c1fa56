"""The choice of a policy: what each came to before it was made, and since."""

from rich.table import Table
from rich.text import Text

from loopline.app.report.figure import count, fixed, moment
from loopline.app.report.markup import Markup, element
from loopline.app.report.table import column, table
from loopline.loop.choose import Candidate, Choice

_COLUMNS = ("Cost then", "Loss since", "Retrains", "Pages", "Cost since", "More than the chosen, 95 %")
_DECIMALS = 4


def choice_section(choice: Choice) -> list[Markup]:
    """For the page: the sentence, then every policy, the chosen first."""
    head = element("tr", column("Policy"), *(column(label, number=True) for label in _COLUMNS))
    body = [
        element(
            "tr",
            element("th", one.policy, scope="row"),
            *(element("td", told, class_="number") for told in _figures(one)),
        )
        for one in choice.candidates
    ]
    return [
        element("p", choice.sentence),
        table(_caption(choice), head, element("tbody", *body)),
        element("p", _priced(choice), class_="quiet"),
    ]


def choice_text(choice: Choice) -> Table:
    """For the terminal."""
    shown = Table(title=Text(_caption(choice)), caption=Text(f"{choice.sentence} {_priced(choice)}"))
    for label in ("", *_COLUMNS):
        shown.add_column(label, justify="right" if label else "left", overflow="fold")
    for one in choice.candidates:
        shown.add_row(*(Text(told) for told in (one.policy, *_figures(one))))
    return shown


def _figures(one: Candidate) -> list[str]:
    more = one.more
    told = (
        "chosen"
        if more is None
        else f"{count_signed(more.mean)} ({count_signed(more.lower)} to {count_signed(more.upper)})"
    )
    rest = one.rest
    return [
        count(one.chosen_on.total),
        fixed(rest.loss, _DECIMALS),
        count(rest.retrains),
        count(rest.pages),
        count(rest.total),
        told,
    ]


def count_signed(value: float) -> str:
    """A whole number with its sign."""
    return fixed(value, 0, sign=True)


def _caption(choice: Choice) -> str:
    return f"Policies of {choice.model}, chosen on what was known at {moment(choice.choose_until)}"


def _priced(choice: Choice) -> str:
    prices = choice.prices
    return (
        f"A unit of {choice.loss} on one prediction costs {prices.loss:g}, a training {prices.retrain:g}, a page {prices.page:g}. "
        "Intervals are of the loss; trainings and pages are counted as they were. Each policy was followed from the first day."
    )
