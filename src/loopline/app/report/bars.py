"""Bars from zero, one to a line: what adds and what takes away."""

from collections.abc import Sequence
from dataclasses import dataclass

from loopline.app.report.chart import LETTER, text
from loopline.app.report.figure import fixed
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.scale import Scale

_LINE = 24.0
_LABEL, _FIGURE = 30, 70.0


@dataclass(frozen=True)
class Bar:
    """A value under a name; `low` and `high` are its interval's ends, where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def bars(given: Sequence[Bar], *, title: str, decimals: int = 3, width: float = 920.0) -> Markup:
    """The bars as a picture, in the order given; all share one scale that holds 0."""
    ends = [end for bar in given for end in (bar.value, bar.low, bar.high) if end is not None]
    longest = min(_LABEL, max((len(bar.name) for bar in given), default=0))
    scale = Scale(min([0.0, *ends]), max([0.0, *ends, 1e-12]), LETTER * longest + 16, width - _FIGURE)
    lines = [_line(bar, scale, _LINE * place, width, decimals) for place, bar in enumerate(given)]
    zero = element("line", class_="axis", x1=scale.at(0), x2=scale.at(0), y1=0.0, y2=_LINE * len(given))
    box = f"0 0 {width:.0f} {_LINE * len(given):.0f}"
    return element("svg", element("title", title), *lines, zero, viewBox=box, role="img", aria_label=title)


def _line(bar: Bar, scale: Scale, top: float, width: float, decimals: int) -> Markup:
    start, end = sorted((scale.at(0), scale.at(bar.value)))
    middle = top + _LINE / 2
    parts = [
        text(scale.start - 10, middle + 4, _short(bar.name), "end", class_="tick"),
        element(
            "rect",
            class_="mark s0" if bar.value >= 0 else "mark s1",
            x=start,
            y=top + 5,
            width=max(end - start, 0.5),
            height=_LINE - 10,
        ),
        text(width, middle + 4, fixed(bar.value, decimals, sign=True), "end", class_="figure"),
    ]
    if bar.low is not None and bar.high is not None:
        ends = {"x1": scale.at(bar.low), "x2": scale.at(bar.high)}
        parts.append(element("line", class_="axis", y1=middle, y2=middle, **ends))
    return join(parts)


def _short(name: str) -> str:
    return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"
