"""The pictures of the report: loss and what was due, evidence, reliability, and how far inputs moved."""

import math
from collections.abc import Sequence

from loopline.app.report.chart import PHONE, Plot, Point, marker, shortened, svg, text
from loopline.app.report.figure import fixed
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.scale import Scale, Tick, span, ticks, time_ticks
from loopline.app.study.answers import BlockFigures, Calibration, Watched
from loopline.evidence.e_sr import log_threshold
from loopline.monitoring.diagnosis.cause import Picture
from loopline.monitoring.drift import Suspect
from loopline.values import micros

_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 60.0, 24.0, 26.0, 46.0, 30.0
_SMOOTHED = 7
_LOSS, _DUE, _BASE = "s0", "s1", "entropy"


def loss_chart(watched: Watched, width: float, name: str) -> Markup:
    """The loss of each block and what was due; below it the evidence for harm against its threshold."""
    wide = width > PHONE
    blocks = watched.blocks
    x = Scale(micros(blocks[0].start), micros(blocks[-1].end), _LEFT, width - _RIGHT)
    middle = _TOP + (210 if wide else 160)
    bottom = middle + _GAP + (90 if wide else 80)
    values = [value for one in blocks for value in (one.loss, one.due)]
    limits = span(values)
    threshold = log_threshold(watched.setup.risk.threshold)
    evidence = (0.0, 1.12 * max([threshold, *(one.log_evidence for one in blocks)]))
    above, below = Plot(x, Scale(*limits, middle, _TOP)), Plot(x, Scale(*evidence, bottom, middle + _GAP))
    x_ticks = _places(watched, int(width / 70))
    return svg(
        name,
        f"{watched.name}: loss, what was due, and evidence for harm",
        watched.headline,
        width,
        bottom + _BOTTOM,
        text(0, 14, "Loss", "start", class_="panel"),
        *_shades(above, watched),
        above.axes(x_ticks, ticks(*limits, 5), x_labels=False),
        above.dots(_series(blocks, "loss"), _LOSS),
        above.lines(_smoothed(blocks, "loss"), _LOSS),
        above.lines(_smoothed(blocks, "due"), _DUE),
        text(0, middle + _GAP - 12, "Evidence for harm (log)", "start", class_="panel"),
        *_shades(below, watched),
        below.axes(x_ticks, ticks(*evidence, 3)),
        below.lines(_series(blocks, "log_evidence"), _LOSS),
        below.level(threshold, f"alarm at {fixed(threshold, 2)}", "threshold"),
        *(_alarm(above, below, one) for one in blocks if one.alarm),
        class_="loss",
    )


def _series(blocks: Sequence[BlockFigures], field: str) -> list[Point]:
    return [(micros(one.end), getattr(one, field)) for one in blocks]


def _smoothed(blocks: Sequence[BlockFigures], field: str) -> list[Point]:
    """At each block the mean of the last few, weighted by what is judged."""
    points: list[Point] = []
    for place, one in enumerate(blocks):
        recent = blocks[max(0, place - _SMOOTHED + 1) : place + 1]
        weight = sum(each.judged for each in recent)
        points.append((micros(one.end), sum(getattr(each, field) * each.judged for each in recent) / weight))
    return points


def _places(watched: Watched, most: int) -> list[Tick]:
    if watched.setup.timed:
        return time_ticks(watched.start, watched.end, most)
    length = micros(watched.blocks[0].end) - micros(watched.blocks[0].start)
    rows = watched.setup.rows_a_block
    count = (micros(watched.end) - micros(watched.blocks[0].start)) / length
    found = ticks(0, count * rows, max(2, most // 2))
    return [Tick(micros(watched.blocks[0].start) + tick.at / rows * length, tick.label) for tick in found]


def _shades(plot: Plot, watched: Watched) -> list[Markup]:
    """The reference in grey; episodes of harm begin with a line."""
    end = micros(next(one.start for one in watched.blocks if not one.reference))
    shade = plot.shade(micros(watched.blocks[0].start), end, "reference")
    onsets = []
    for one in watched.harm.episodes:
        x = plot.x.at_time(one.since)
        onsets.append(element("line", class_="level", x1=x, x2=x, y1=plot.y.start, y2=plot.y.end))
    return [shade, *onsets]


def _alarm(above: Plot, below: Plot, one: BlockFigures) -> Markup:
    x = above.x.at_time(one.end)
    line = element("line", class_="alarm", x1=x, x2=x, y1=above.y.end, y2=below.y.start)
    return join([line, marker("alarm", x, above.y.end, "alarm")])


def reliability_chart(calibration: Calibration, width: float, name: str) -> Markup:
    """What came true against what was scored, in the reference and lately; the line is what honest scores give."""
    size = min(width, 430.0)
    bins = [*calibration.before.bins, *calibration.lately.bins]
    top = min(1.0, 1.05 * max(max(one.mean_score, one.base_rate) for one in bins))
    plot = Plot(Scale(0, top, _LEFT, size - _RIGHT), Scale(0, top, size - 50, _TOP))
    marks = ticks(0, top, 5)
    honest = element("line", class_="level", x1=plot.x.at(0), y1=plot.y.at(0), x2=plot.x.at(top), y2=plot.y.at(top))
    curves = [
        join([plot.lines(points, class_), *(_bin(plot, point, class_) for point in points)])
        for points, class_ in (
            ([(one.mean_score, one.base_rate) for one in calibration.before.bins], "s0"),
            ([(one.mean_score, one.base_rate) for one in calibration.lately.bins], "s1"),
        )
    ]
    told = "; ".join(
        f"{fixed(one.mean_score, 2)} came true in {fixed(one.base_rate, 2)}" for one in calibration.lately.bins
    )
    return svg(
        name,
        "Reliability",
        f"Lately a score of {told}.",
        width,
        size,
        text(0, 14, "Share that came true", "start", class_="panel"),
        text(size - _RIGHT, size - 8, "Score", "end", class_="panel"),
        plot.axes(marks, marks),
        honest,
        *curves,
        class_="loss",
    )


def _bin(plot: Plot, point: tuple[float, float], class_: str) -> Markup:
    return element("circle", class_=f"dot {class_}", cx=plot.x.at(point[0]), cy=plot.y.at(point[1]), r=3)


def cause_chart(watched: Watched, picture: Picture, width: float, name: str) -> Markup:
    """What a cause is seen in, stretch by stretch, and where it usually lies."""
    blocks = watched.blocks
    points = [(micros(blocks[first].start), value) for first, value in zip(picture.first, picture.values, strict=True)]
    limits = span([*(value for _, value in points if math.isfinite(value)), picture.usual])
    x = Scale(micros(blocks[0].start), micros(blocks[-1].end), _LEFT, width - _RIGHT)
    plot = Plot(x, Scale(*limits, 130, _TOP))
    return svg(
        name,
        picture.label,
        f"{picture.label}: usually {fixed(picture.usual, 3)}, at the end {fixed(picture.values[-1], 3)}.",
        width,
        130 + _BOTTOM,
        text(0, 14, picture.label.capitalize(), "start", class_="panel"),
        *_shades(plot, watched),
        plot.axes(_places(watched, int(width / 70)), ticks(*limits, 3)),
        plot.lines(points, _LOSS),
        plot.level(picture.usual, "usual", "threshold"),
        class_="loss",
    )


def drift_chart(suspects: Sequence[Suspect], width: float, name: str) -> Markup:
    """How far each input moved; the mark on its bar is what is usual for it."""
    row, left = 24.0, min(180.0, width * 0.36)
    scale = Scale(0, max(one.effect for one in suspects) * 1.05, left, width - _RIGHT - 40)
    parts = []
    for place, one in enumerate(suspects):
        y = _TOP + place * row
        end, usual = scale.at(one.effect), scale.at(one.usual)
        parts += [
            text(left - 8, y + 13, shortened(one.column, left - 12), "end", class_="tick"),
            element("line", class_="line s0", x1=left, x2=end, y1=y + 9, y2=y + 9),
            element("line", class_="level", x1=usual, x2=usual, y1=y + 2, y2=y + 16),
            text(end + 6, y + 13, fixed(one.effect, 3), "start", class_="tick"),
        ]
    told = ", ".join(f"{one.column} {fixed(one.effect, 3)}" for one in suspects)
    height = _TOP + len(suspects) * row + 8
    heading = text(0, 14, "Jensen-Shannon distance from the reference", "start", class_="panel")
    return svg(
        name,
        "Inputs that moved",
        f"Distance from the reference: {told}.",
        width,
        height,
        heading,
        *parts,
        class_="harm",
    )
