"""Pictures of a check: how a column's values lie, what groups differ by."""

from loopline.app.report.chart import Plot, shortened, svg, text
from loopline.app.report.markup import Markup, element
from loopline.app.report.scale import Scale, span, ticks
from loopline.evaluation.groups import Group
from loopline.tables.proposal.facts import ColumnFacts

_WIDTH, _HEIGHT, _FOOT = 260.0, 76.0, 16.0
_ROW, _NAMES = 22.0, 190.0
_WIDE = 640.0


def column_picture(facts: ColumnFacts, number: int) -> Markup | None:
    """A histogram of numbers and times, bars of the most frequent texts; None where there is nothing to draw."""
    if len(facts.counts) > 1:
        return _histogram(facts, number)
    return _bars(facts, number) if facts.top else None


def _histogram(facts: ColumnFacts, number: int) -> Markup:
    most, width = max(facts.counts), _WIDTH / len(facts.counts)
    bars = [
        element("rect", element("title", f"{count:,} rows"), class_="mark s0", x=place * width, y=_HEIGHT * (1 - count / most), width=width - 1, height=_HEIGHT * count / most)
        for place, count in enumerate(facts.counts)
        if count
    ]  # fmt: skip
    low, high = facts.low or "", facts.high or ""
    ends = [text(0, _HEIGHT + 13, low, "start", class_="tick"), text(_WIDTH, _HEIGHT + 13, high, "end", class_="tick")]
    told = f"{facts.name} from {low} to {high}" if low else facts.name
    return svg(f"c{number}", told, "Rows in equal stretches.", _WIDTH, _HEIGHT + _FOOT, *bars, *ends, class_="column")


def _bars(facts: ColumnFacts, number: int) -> Markup:
    known = max(facts.rows - facts.nulls, 1)
    shown = facts.top[:5]
    drawn = []
    for place, (value, rows) in enumerate(shown):
        y = place * 18.0
        drawn += [
            element(
                "rect",
                class_="mark s0",
                x=0.0,
                y=y + 2,
                width=max(_WIDTH * rows / known, 1.0),
                height=14.0,
                opacity=0.35,
            ),
            text(4, y + 13, shortened(value, _WIDTH - 60), "start", class_="tick"),
            text(_WIDTH, y + 13, f"{rows / known:.1%}", "end", class_="tick"),
        ]
    return svg(f"c{number}", facts.name, "Shares of the most frequent values.", _WIDTH, 18.0 * len(shown), *drawn, class_="column")  # fmt: skip


def groups_picture(name: str, groups: list[Group], number: int) -> Markup:
    """Each group's mean label with its interval, one below the other."""
    known = [group for group in groups if group.mean is not None]
    bounds = [bound for group in known for bound in (group.lower, group.upper, group.mean) if bound is not None]
    low, high = span(bounds)
    height = _ROW * len(known)
    plot = Plot(Scale(low, high, _NAMES, _WIDE - 20), Scale(0, 1, height, 0))
    drawn = [plot.axes(ticks(low, high, 6), [])]
    for place, group in enumerate(known):
        y = _ROW * (place + 0.5)
        left = plot.x.at(group.lower if group.lower is not None else low)
        right = plot.x.at(group.upper if group.upper is not None else high)
        drawn += [
            text(_NAMES - 10, y + 4, shortened(group.name, _NAMES - 20), "end", class_="tick"),
            element("line", class_="line s0", x1=left, x2=right, y1=y, y2=y),
            element("circle", class_="dot s0", cx=plot.x.at(group.mean or 0.0), cy=y, r=4.0),
        ]
    return svg(
        f"g{number}", f"Label by {name}", "Means with 95 % intervals.", _WIDE, height + 26, *drawn, class_="groups"
    )
