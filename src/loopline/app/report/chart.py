"""Charts in SVG: what every chart is drawn from."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from loopline.app.report.markup import Markup, element, join
from loopline.app.report.scale import Scale, Tick

Point = tuple[float, float | None]
"""A value over a place on the x axis; None or NaN is a gap."""

PHONE = 600.0
"""Charts narrower than this are drawn for a phone."""

LETTER = 7.0
"""How wide a letter of a chart is, about, in pixels."""

_SHAPES = {
    "promotion": "M{x} {y}m0 -6l6 10h-12z",
    "rollback": "M{x} {y}m0 6l6 -10h-12z",
    "alarm": "M{x} {y}m0 -7l6 7l-6 7l-6 -7z",
}


@dataclass(frozen=True)
class Plot:
    """An area with its two scales."""

    x: Scale
    y: Scale

    def lines(self, points: Iterable[Point], class_: str) -> Markup:
        """Lines through the points, broken at gaps; a point alone between gaps is a dot."""
        runs = groupby(points, key=lambda point: _known(point[1]))
        return join(self._run(list(run), class_) for known, run in runs if known)

    def _run(self, run: Sequence[Point], class_: str) -> Markup:
        placed = [(self.x.at(at), self.y.at(value or 0.0)) for at, value in run]
        if len(placed) == 1:
            return element("circle", class_=f"dot {class_}", cx=placed[0][0], cy=placed[0][1], r=2.5)
        written = " ".join(f"{x:.2f},{y:.2f}" for x, y in placed)
        return element("polyline", class_=f"line {class_}", points=written)

    def dots(self, points: Iterable[Point], class_: str) -> Markup:
        """A dot for each point in one path; what lies beyond the scale stands at its edge, hollow."""
        known = [(at, value) for at, value in points if value is not None and math.isfinite(value)]
        inside = "".join(self._dot(at, value) for at, value in known if self.y.holds(value))
        beyond = [
            element("circle", class_=f"beyond {class_}", cx=self.x.at(at), cy=self.y.at(value), r=2.5)
            for at, value in known
            if not self.y.holds(value)
        ]
        return join([element("path", class_=f"dots {class_}", d=inside) if inside else "", *beyond])

    def _dot(self, at: float, value: float) -> str:
        return f"M{self.x.at(at):.1f} {self.y.at(value):.1f}h0"

    def level(self, value: float, label: str, class_: str) -> Markup:
        """A line across at a value, with its label above its left end (below, near the upper edge)."""
        if not math.isfinite(value):
            return Markup()
        y = self.y.at(value)
        below = y - min(self.y.start, self.y.end) < 2 * LETTER
        return join(
            [
                element("line", class_=f"level {class_}", x1=self.x.start, x2=self.x.end, y1=y, y2=y),
                text(self.x.start + 5, y + (14 if below else -5), label, "start", class_=f"halo {class_}"),
            ]
        )

    def axes(self, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], *, x_labels: bool = True) -> Markup:
        """A grid with its labels; the x labels may be left to the plot below."""
        across = [
            element("line", class_="grid", x1=self.x.start, x2=self.x.end, y1=self.y.at(tick.at), y2=self.y.at(tick.at))
            + text(self.x.start - 7, self.y.at(tick.at) + 4, tick.label, "end", class_="tick")
            for tick in y_ticks
        ]
        bottom = max(self.y.start, self.y.end)
        stops = [element("line", class_="stop", x1=x, x2=x, y1=bottom, y2=bottom + 4) for x in self._places(x_ticks)]
        labels = [
            text(x, bottom + 18, tick.label, "middle", class_="tick")
            for x, tick in zip(self._places(x_ticks), x_ticks, strict=True)
            if x_labels
        ]
        axis = element("line", class_="axis", x1=self.x.start, x2=self.x.end, y1=bottom, y2=bottom)
        return join([*map(Markup, across), axis, *stops, *labels])

    def _places(self, x_ticks: Sequence[Tick]) -> list[float]:
        return [self.x.at(tick.at) for tick in x_ticks]

    def shade(self, start: float, end: float, label: str) -> Markup:
        """A part of the x axis in grey, with a label that shows on hovering."""
        left, right = self.x.at(start), self.x.at(end)
        top, bottom = sorted((self.y.start, self.y.end))
        title = element("title", label)
        return element("rect", title, class_="shade", x=left, y=top, width=right - left, height=bottom - top)


def text(x: float, y: float, label: str, anchor: str, *, class_: str) -> Markup:
    """A label; `anchor` is start, middle or end."""
    return element("text", label, x=x, y=y, text_anchor=anchor, class_=class_)


def marker(kind: str, x: float, y: float, label: str, class_: str = "") -> Markup:
    """A mark for an event (promotion, rollback or alarm) with a label that shows on hovering."""
    path = _SHAPES[kind].format(x=f"{x:.2f}", y=f"{y:.2f}")
    return element("path", element("title", label), class_=f"mark {kind} {class_}".strip(), d=path)


def svg(name: str, title: str, description: str, width: float, height: float, *content: str, class_: str) -> Markup:
    """A drawing that says in words what it shows. `name` is unique on the page."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *content,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_=class_,
    )


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved as little as needed to stand `gap` apart within [low, high], in the same order."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, index in zip([None, *order], order, strict=False):
        moved[index] = max(moved[index], low if before is None else moved[before] + gap)
    limit = high
    for index in reversed(order):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved


def shortened(label: str, width: float) -> str:
    """The label cut to a width in pixels, with an ellipsis."""
    letters = max(2, int(width / LETTER))
    return label if len(label) <= letters else f"{label[: letters - 1]}…"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
