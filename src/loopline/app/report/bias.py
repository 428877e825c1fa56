"""The bias report in blocks: figures by group with their bounds, and the gaps between groups."""

from loopline.app.report.bars import Bar
from loopline.app.report.blocks import Block, Drawing, Grid, Part, Text, as_html
from loopline.app.report.figure import MISSING, fixed
from loopline.evaluation.bias import BiasReport, Disparity, Group, Grouping
from loopline.evaluation.disparity import Figure

DRAWN = ("selection_rate", "false_negative_rate", "false_positive_rate", "error_rate", "absolute_error")


def bias_html(report: BiasReport, title: str) -> str:
    """The report as one HTML file."""
    return as_html("Bias report", title, lead(report), bias_parts(report))


def lead(report: BiasReport) -> str:
    """What was compared, and how."""
    return (
        f"{report.rows:,} rows ({report.of_rows}). Groups with fewer than {report.min_rows} rows that count are not judged. Bounds hold "
        f"{report.confidence:.0%}: over blocks, or Wilson's and Newcombe's where blocks or events are fewer than ten; those of a gap "
        "hold over all pairs of groups together."
    )


def bias_parts(report: BiasReport) -> list[Part]:
    """A part for each grouping."""
    return [Part(f"By {' and '.join(found.by)}", tuple(_blocks(found))) for found in report.groupings]


def gaps_grid(found: Grouping) -> Grid:
    """The widest gap of each measure."""
    rows = [_gap_row(name, one) for name, one in found.disparities.items()]
    return Grid(("measure", "higher", "lower", "gap", "bounds", "ratio"), tuple(rows))


def groups_grid(found: Grouping) -> Grid:
    """Every judged group's figures, a measure to a row."""
    judged = [group for group in found.groups if group.figures]
    names = list(dict.fromkeys(name for group in judged for name in group.figures))
    rows = [(name.replace("_", " "), *(_figure(group, name) for group in judged)) for name in names]
    head = ("measure", *(f"{group.name} ({group.rows:,} rows)" for group in judged))
    return Grid(head, tuple(rows), "In brackets the bounds. * too few rows that count to be judged.")


def unjudged_sentence(found: Grouping) -> str:
    """Which groups were too small, with nothing told of them."""
    rows = {group.name: group.rows for group in found.groups}
    named = ", ".join(f"{name} ({rows[name]} rows)" for name in found.not_judged)
    return f"Not judged, for too few rows: {named}." if named else "All groups have enough rows."


def _blocks(found: Grouping) -> list[Block]:
    drawn = [
        Drawing(
            name.replace("_", " "),
            tuple(_bar(group, group.figures[name]) for group in found.groups if name in group.figures),
        )
        for name in DRAWN
        if any(name in group.figures for group in found.groups)
    ]
    odds, parity = found.equalized_odds, found.demographic_parity
    told = [f"Demographic parity difference {parity:.4f}." if parity is not None else ""]
    told += [f"Equalized odds difference {odds:.4f}." if odds is not None else "", unjudged_sentence(found)]
    gaps: list[Block] = [gaps_grid(found)] if found.disparities else []
    return [Text(" ".join(one for one in told if one)), *gaps, groups_grid(found), *drawn]


def _gap_row(name: str, found: Disparity) -> tuple[str, ...]:
    gap = found.gap
    return (
        name.replace("_", " "),
        gap.larger,
        gap.smaller,
        fixed(gap.difference, 4, sign=True),
        _bounds(gap.lower, gap.upper),
        MISSING if found.ratio is None else fixed(found.ratio, 3),
    )


def _figure(group: Group, name: str) -> str:
    found = group.figures.get(name)
    if found is None:
        return MISSING
    star = "" if found.judged else " *"
    return f"{fixed(found.value, 4)} ({_bounds(found.lower, found.upper)}){star}"


def _bounds(low: float | None, high: float | None) -> str:
    return MISSING if low is None or high is None else f"{fixed(low, 4)} to {fixed(high, 4)}"


def _bar(group: Group, found: Figure) -> Bar:
    return Bar(group.name, found.value, found.lower, found.upper)
