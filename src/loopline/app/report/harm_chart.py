"""The chart of one policy's harm: the excess of its loss, and below it the evidence that the excess is more than allowed."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from loopline.app.report.chart import PHONE, Plot, Point, marker, svg, text
from loopline.app.report.figure import fixed, moment, times
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.scale import Scale, span, ticks, time_ticks
from loopline.app.report.style import series
from loopline.evidence.e_sr import log_threshold
from loopline.loop.compare import Comparison, Day, Event, PolicyResult
from loopline.values import micros

_WEEK = timedelta(days=7)
_OUTLYING = 0.5
_LEFT, _TOP, _GAP, _BOTTOM = 56.0, 26.0, 46.0, 30.0


@dataclass(frozen=True)
class HarmScales:
    """What the charts of all policies share, so that they may be compared: limits of time, of excess and of evidence."""

    start: datetime
    end: datetime
    excess: tuple[float, float]
    evidence: tuple[float, float]
    allowed: float
    threshold: float
    since: datetime


def harm_scales(comparison: Comparison) -> HarmScales:
    """Scales that hold every weekly mean, the allowed level, the threshold, and all but the most outlying days."""
    days = [day for result in comparison.policies for day in result.days]
    excesses = [day.excess for day in days if day.excess is not None and math.isfinite(day.excess)]
    usual = np.percentile(excesses, [_OUTLYING, 100 - _OUTLYING]).tolist() if excesses else []
    means = [mean for result in comparison.policies for _, mean in weekly_means(result.days) if mean is not None]
    threshold = log_threshold(comparison.threshold)
    top = max([threshold, *(day.log_evidence for day in days if math.isfinite(day.log_evidence))]) or 1.0
    moments = [*(day.end for day in days), *(event.at for event in _alarms(comparison.policies))]
    return HarmScales(
        start=min([comparison.start, *moments]),
        end=max([comparison.until, *moments]),
        excess=span([*usual, *means, comparison.allowed_excess]),
        evidence=(0.0, top * 1.12),
        allowed=comparison.allowed_excess,
        threshold=threshold,
        since=comparison.since,
    )


def weekly_means(days: Sequence[Day]) -> list[Point]:
    """At each day, the mean excess of the days that end in the seven days up to and including it; None where there is none."""
    found: list[Point] = []
    week: deque[Day] = deque()
    for day in days:
        week.append(day)
        while week[0].end <= day.end - _WEEK:
            week.popleft()
        recent = [each.excess for each in week if each.excess is not None and math.isfinite(each.excess)]
        found.append((micros(day.end), sum(recent) / len(recent) if recent else None))
    return found


def harm_chart(result: PolicyResult, number: int, scales: HarmScales, *, width: float, name: str) -> Markup | None:
    """The chart of one policy at a width in pixels; None where no day was watched."""
    if not result.days:
        return None
    wide = width > PHONE
    x = Scale(micros(scales.start), micros(scales.end), _LEFT, width - 30)
    middle = _TOP + (170 if wide else 140)
    bottom = middle + _GAP + (110 if wide else 95)
    above = Plot(x, Scale(*scales.excess, middle, _TOP))
    below = Plot(x, Scale(*scales.evidence, bottom, middle + _GAP))
    x_ticks = time_ticks(scales.start, scales.end, most=int(width / 66))
    return svg(
        name,
        f"{result.policy}: excess loss and evidence for harm",
        description(result, scales),
        width,
        bottom + _BOTTOM,
        text(0, 14, "Excess of the loss", "start", class_="panel"),
        above.shade(micros(scales.start), micros(scales.since), "before the first champion"),
        above.axes(x_ticks, ticks(*scales.excess, 5), x_labels=False),
        above.dots(((micros(day.end), day.excess) for day in result.days), series(number)),
        above.lines(weekly_means(result.days), series(number)),
        above.level(scales.allowed, f"allowed {fixed(scales.allowed, 3)}", "allowed"),
        text(0, middle + _GAP - 12, "Evidence for harm (log)", "start", class_="panel"),
        below.shade(micros(scales.start), micros(scales.since), "before the first champion"),
        below.axes(x_ticks, ticks(*scales.evidence, 4)),
        below.lines(((micros(day.end), day.log_evidence) for day in result.days), series(number)),
        below.level(scales.threshold, f"threshold {fixed(scales.threshold, 2)}", "threshold"),
        _marks(above, below, result, scales),
        class_="harm",
    )


def description(result: PolicyResult, scales: HarmScales) -> str:
    """What the chart shows, in words."""
    known = [mean for _, mean in weekly_means(result.days) if mean is not None]
    above = sum(mean > scales.allowed for mean in known)
    highest = max((day.log_evidence for day in result.days if math.isfinite(day.log_evidence)), default=math.nan)
    alarms = len(_alarms([result]))
    return (
        f"The 7-day mean of the excess was above the allowed {fixed(scales.allowed, 3)} on {above:,} of {times(len(known), 'day')}. "
        f"The evidence reached {fixed(highest, 2)} of the {fixed(scales.threshold, 2)} that raise an alarm: {times(alarms, 'alarm')}."
    )


def beyond(result: PolicyResult, scales: HarmScales) -> int:
    """How many days have an excess beyond the scale."""
    low, high = scales.excess
    return sum(
        day.excess is not None and not low <= day.excess <= high and math.isfinite(day.excess) for day in result.days
    )


def _marks(above: Plot, below: Plot, result: PolicyResult, scales: HarmScales) -> Markup:
    """Alarms as lines through both plots; days whose evidence reached the threshold; promotions on the axis between."""
    crossed = [
        element("circle", class_="crossed", cx=below.x.at_time(day.end), cy=below.y.at(day.log_evidence), r=4)
        for day in result.days
        if day.log_evidence >= scales.threshold
    ]
    return join([*crossed, *(_alarm(above, below, event) for event in _alarms([result])), *_changes(above, result)])


def _alarm(above: Plot, below: Plot, event: Event) -> Markup:
    x = above.x.at_time(event.at)
    label = f"Alarm, {moment(event.at)} UTC. {event.sentence}"
    line = element("line", class_="alarm", x1=x, x2=x, y1=above.y.end, y2=below.y.start)
    return join([line, marker("alarm", x, above.y.end, label)])


def _changes(above: Plot, result: PolicyResult) -> list[Markup]:
    return [
        marker(
            event.kind,
            above.x.at_time(event.at),
            above.y.start,
            f"{event.kind}, {moment(event.at)} UTC. {event.sentence}",
        )
        for event in result.events
        if event.kind in {"promotion", "rollback"}
    ]


def _alarms(policies: Sequence[PolicyResult]) -> list[Event]:
    return [event for result in policies for event in result.events if event.kind == "alarm"]
