"""The report of a series: its values, the level of each stretch, and where it moved."""

import numpy as np

from loopline.app.alone.series import Move, WatchedSeries
from loopline.app.report.chart import PHONE, Plot, marker, svg, text
from loopline.app.report.document import both, document, headed, section
from loopline.app.report.figure import count, moment
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.scale import Scale, span, ticks, time_ticks
from loopline.app.report.table import column, table
from loopline.values import from_micros

_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 24.0, 26.0, 30.0
_MOST_POINTS = 2000


def series_html(watched: WatchedSeries) -> str:
    """The answer as one HTML file: no script, nothing fetched, times in UTC. Equal answers give equal bytes."""
    answer, at = watched.answer, watched.series.at
    period = (
        f"{moment(from_micros(int(at[0])))} to {moment(from_micros(int(at[-1])))}. All times are UTC."
        if answer.timed
        else "In the order of the file."
    )
    drawn = both(lambda width, name: _chart(watched, width, name), "series")
    caption = "The values; the dashed line is the mean of each stretch. The upright line is the onset of a move, the grey its range, ◆ when it was seen."
    return document(
        f"Watch {answer.name}",
        headed("Watch", answer.name, period, [answer.headline]),
        section(
            "Has it moved?",
            *([element("figure", drawn, element("figcaption", caption))] if drawn else []),
            *_told([one.sentence for one in answer.moves]),
            _moves(answer.moves),
        ),
        section("How sure is this?", *_told(answer.sentences)),
        section("What was taken as what?", *_told(answer.notices)),
    )


def _told(sentences: list[str]) -> list[Markup]:
    return [element("p", sentence) for sentence in sentences]


def _chart(watched: WatchedSeries, width: float, name: str) -> Markup:
    answer, series = watched.answer, watched.series
    at = series.at.tolist()
    every = max(1, len(at) // _MOST_POINTS)
    bottom = _TOP + (260 if width > PHONE else 180)
    plot = Plot(
        Scale(at[0], at[-1], _LEFT, width - _RIGHT), Scale(*span(np.asarray(series.values).tolist()), bottom, _TOP)
    )
    x_ticks = (
        time_ticks(from_micros(at[0]), from_micros(at[-1]), int(width / 90))
        if answer.timed
        else ticks(at[0], at[-1] or 1, int(width / 90))
    )
    levels = [(at[place], one.mean) for one in answer.stretches for place in (one.first - 1, one.last - 1)]
    steps = [part for pair in zip(levels[::2], levels[1::2], strict=True) for part in (*pair, (pair[1][0], None))]
    return svg(
        name,
        f"{answer.name}: values and moves",
        answer.headline,
        width,
        bottom + _BOTTOM,
        text(0, 14, answer.name, "start", class_="panel"),
        *(_shade(plot, one) for one in answer.moves),
        plot.axes(x_ticks, ticks(plot.y.low, plot.y.high, 5)),
        plot.lines([(at[place], float(series.values[place])) for place in range(0, len(at), every)], "s0"),
        plot.lines(steps, "s1"),
        *(_mark(plot, one) for one in answer.moves),
        class_="loss",
    )


def _shade(plot: Plot, one: Move) -> Markup:
    return plot.shade(one.moved.earliest, one.moved.latest, "likely onset")


def _mark(plot: Plot, one: Move) -> Markup:
    onset, seen = plot.x.at(one.moved.onset), plot.x.at(one.moved.seen)
    line = element("line", class_="level", x1=onset, x2=onset, y1=plot.y.start, y2=plot.y.end)
    return join([line, marker("alarm", seen, plot.y.end, "seen")])


def _moves(moves: list[Move]) -> Markup:
    if not moves:
        return Markup()
    heads = ["Since", "Seen", "Way", "Before", "After", "Values since"]
    head = element("tr", *(column(label, number=place > 2) for place, label in enumerate(heads)))  # noqa: PLR2004 - what follows the words
    return table("Each move.", head, element("tbody", *(element("tr", *_cells(one)) for one in moves)))


def _cells(one: Move) -> list[Markup]:
    since = moment(one.onset) if one.onset else f"value {one.onset_row:,}"
    seen = moment(one.seen) if one.seen else f"value {one.row:,}"
    spread = one.moved.way in {"wider", "narrower"}
    figures = (one.moved.spread_before, one.moved.spread_after) if spread else (one.moved.before, one.moved.after)
    words = [since, seen, f"{one.moved.way} ({'spread' if spread else one.of})"]
    numbers = [*(f"{figure:,.5g}" for figure in figures), count(one.moved.values_after)]
    return [*(element("td", word) for word in words), *(element("td", number, class_="number") for number in numbers)]
