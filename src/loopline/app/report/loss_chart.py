"""The chart of the mean loss by month, a line for each policy."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from loopline.app.report.chart import PHONE, Plot, Point, apart, marker, shortened, svg, text
from loopline.app.report.figure import fixed, moment
from loopline.app.report.markup import Markup, join
from loopline.app.report.measure import TITLES
from loopline.app.report.scale import Scale, month_start, next_month, span, ticks, time_ticks
from loopline.app.report.style import series
from loopline.loop.compare import Comparison, Month, PolicyResult
from loopline.values import micros

LEAST_SHARE = 0.05

_MARKED = ("promotion", "rollback")


def loss_chart(comparison: Comparison, *, width: float, name: str) -> Markup | None:
    """The chart at a width in pixels; None where no month has a loss. Months stand at their middle."""
    curves = [_curve(result) for result in comparison.policies]
    reference = _reference(comparison)
    if not any(math.isfinite(value or math.nan) for curve in curves for _, value in curve):
        return None
    right = min(150.0, width * 0.25)
    height = 340.0 if width > PHONE else 300.0
    plot = _plot(comparison, [*curves, reference], (48.0, width - right), (12.0, height - 30))
    x_ticks = time_ticks(*_limits(comparison), most=int((width - right) / 62))
    return svg(
        name,
        f"Mean {TITLES[comparison.loss].lower()} by month",
        _description(comparison),
        width,
        height,
        plot.axes(x_ticks, ticks(plot.y.low, plot.y.high, 6)),
        plot.lines(reference, "entropy"),
        *(plot.lines(curve, series(number)) for number, curve in enumerate(curves)),
        *(_marks(plot, result, curve, number) for number, (result, curve) in _each(comparison, curves)),
        _labels(plot, comparison, [*curves, reference], right - 12),
        class_="loss",
    )


def constant_by_month(comparison: Comparison) -> dict[str, float]:
    """The loss of always predicting what is best for the month, such as its own base rate.

    Every policy has the same rows and labels: the first that knows a month tells its loss.
    """
    constants = {found.month: found.constant for result in reversed(comparison.policies) for found in result.months}
    return dict(sorted(constants.items()))


def _reference(comparison: Comparison) -> list[Point]:
    constants = constant_by_month(comparison)
    drawn = {found.month for result in comparison.policies for found in _whole(result.months)}
    return [(_middle(month), value) for month, value in constants.items() if month in drawn]


def _curve(result: PolicyResult) -> list[Point]:
    return [(_middle(found.month), found.loss) for found in _whole(result.months)]


def _whole(months: Sequence[Month]) -> list[Month]:
    """The months in order, without those that the period only touches: a day's loss is not a month's."""
    least = max((found.labelled for found in months), default=0) * LEAST_SHARE
    return sorted((found for found in months if found.labelled >= least), key=lambda found: found.month)


def _middle(month: str) -> float:
    start = month_start(month)
    return (micros(start) + micros(next_month(start))) / 2


def _limits(comparison: Comparison) -> tuple[datetime, datetime]:
    starts = [month_start(found.month) for result in comparison.policies for found in result.months]
    return min([comparison.start, *starts]), max([comparison.until, *map(next_month, starts)])


def _plot(
    comparison: Comparison, curves: list[list[Point]], across: tuple[float, float], down: tuple[float, float]
) -> Plot:
    low, high = span(value for curve in curves for _, value in curve if value is not None)
    start, end = _limits(comparison)
    return Plot(Scale(micros(start), micros(end), *across), Scale(low, high, down[1], down[0]))


def _each(comparison: Comparison, curves: list[list[Point]]) -> list[tuple[int, tuple[PolicyResult, list[Point]]]]:
    return list(enumerate(zip(comparison.policies, curves, strict=True)))


def _marks(plot: Plot, result: PolicyResult, curve: list[Point], number: int) -> Markup:
    """Promotions and rollbacks where they happened, on the line."""
    found = []
    for event in result.events:
        value = between(curve, micros(event.at))
        if event.kind in _MARKED and value is not None:
            label = f"{result.policy}, {moment(event.at)} UTC: {event.kind}. {event.sentence}"
            found.append(marker(event.kind, plot.x.at_time(event.at), plot.y.at(value), label, series(number)))
    return join(found)


def between(curve: list[Point], at: float) -> float | None:
    """The height of the line at a place: interpolated, and at the ends that of the nearest point."""
    known = [(x, value) for x, value in curve if value is not None and math.isfinite(value)]
    if not known:
        return None
    after = bisect_right([x for x, _ in known], at)
    if after in {0, len(known)}:
        return known[min(after, len(known) - 1)][1]
    (x0, y0), (x1, y1) = known[after - 1], known[after]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def _labels(plot: Plot, comparison: Comparison, curves: list[list[Point]], width: float) -> Markup:
    """The name of each line beside its end; the reference is the last."""
    names = [*(result.policy for result in comparison.policies), "best constant"]
    classes = [*(series(number) for number in range(len(comparison.policies))), "entropy"]
    ends = [between(curve, math.inf) for curve in curves]
    shown = [index for index, end in enumerate(ends) if end is not None]
    places = apart([plot.y.at(ends[index] or 0.0) for index in shown], 15, plot.y.end + 6, plot.y.start)
    return join(
        text(plot.x.end + 8, place + 4, shortened(names[index], width), "start", class_=f"name {classes[index]}")
        for index, place in zip(shown, places, strict=True)
    )


def _description(comparison: Comparison) -> str:
    return " ".join(_told(result.policy, result.months) for result in comparison.policies)


def _told(policy: str, months: list[Month]) -> str:
    known = [found for found in sorted(months, key=lambda found: found.month) if math.isfinite(found.loss)]
    if not known:
        return f"{policy}: no labelled month."
    worst = max(known, key=lambda found: found.loss)
    return (
        f"{policy}: {fixed(known[0].loss, 3)} in {known[0].month}, {fixed(known[-1].loss, 3)} in {known[-1].month}, "
        f"at most {fixed(worst.loss, 3)} in {worst.month}."
    )
