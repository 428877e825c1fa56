"""The report of `loopline watch`: one HTML file, pictures included."""

from collections.abc import Iterable, Sequence

from loopline.app.alone.charts import cause_chart, drift_chart, loss_chart, reliability_chart
from loopline.app.alone.questions import questions
from loopline.app.report.document import both, document, headed, section
from loopline.app.report.figure import count, fixed, moment, percent
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.table import column, table
from loopline.app.study.answers import Watched
from loopline.evaluation.intervals import Interval

_BARS = 12
_ROWS = 15
_PICTURES = 3


def watch_html(watched: Watched) -> str:
    """All answers as one HTML file: no script, nothing fetched, times in UTC. Equal answers give equal bytes."""
    period = (
        f"{moment(watched.start)} to {moment(watched.end)}. All times are UTC."
        if watched.setup.timed
        else "In the order of the file."
    )
    pictures = _pictures(watched)
    parts = [
        section(heading, *([pictures[key]] if key in pictures else []), _told(sentences), *_tables(watched, key))
        for key, heading, sentences in questions(watched)
    ]
    return document(f"Watch {watched.name}", headed("Watch", watched.name, period, [watched.headline]), *parts)


def _told(sentences: Iterable[str]) -> Markup:
    return join(element("p", sentence) for sentence in sentences)


def _pictures(watched: Watched) -> dict[str, Markup]:
    found: dict[str, Markup | None] = {"harm": both(lambda width, name: loss_chart(watched, width, name), "loss")}
    captions = {
        "harm": "Dots are blocks, lines the mean of the last seven: the loss (solid) and what was due (dashed). Shaded: the reference. "
        "The upright line is the onset of harm, ◆ an alarm.",
        "calibration": "What came true against the score, in bins of equal size: the reference (solid) and lately (dashed).",
        "why": "Inputs that moved beyond what is usual for them, the likeliest cause first. The mark is what is usual.",
    }
    if watched.calibration is not None:
        calibration = watched.calibration
        found["calibration"] = both(lambda width, name: reliability_chart(calibration, width, name), "reliability")
    if watched.why.suspects:
        bars = watched.why.suspects[:_BARS]
        found["why"] = both(lambda width, name: drift_chart(bars, width, name), "drift")
    return {
        key: element("figure", drawn, element("figcaption", captions[key]))
        for key, drawn in found.items()
        if drawn is not None
    }


def _tables(watched: Watched, key: str) -> list[Markup]:
    made = {"harm": _blocks, "why": _causes, "earlier": _versions}.get(key)
    return made(watched) if made else []


def _blocks(watched: Watched) -> list[Markup]:
    rows = [
        [
            moment(one.start) if watched.setup.timed else f"block {place + 1}",
            count(one.predictions),
            count(one.judged),
            fixed(one.loss, 4),
            fixed(one.due, 4),
            fixed(one.excess, 4, sign=True),
            ", ".join(
                word
                for word, holds in (("reference", one.reference), ("data fault", one.faulty), ("alarm", one.alarm))
                if holds
            ),
        ]
        for place, one in enumerate(watched.blocks)
    ]
    heads = ["Block from", "Predictions", "Judged", "Loss", "Due", "Above", ""]
    return [element("details", element("summary", "The figures"), _grid("Each block.", heads, rows))]


def _causes(watched: Watched) -> list[Markup]:
    why, made = watched.why, []
    if why.causes:
        ranked = [
            [one.kind.replace("_", " "), one.subject, "" if one.share is None else percent(one.share), fixed(one.score, 2), one.sentence, one.remedy]
            for one in why.causes[:_ROWS]
        ]  # fmt: skip
        heads = ["Cause", "Of", "Of the rise", "Rank by", "What", "Remedy"]
        made.append(_grid("The likeliest causes first.", heads, ranked, numbers=(2, 3)))
        made += _behind(watched)
    if why.faults:
        faults = [[one.column, one.kind.replace("_", " "), one.sentence] for one in why.faults[:_ROWS]]
        made.append(_grid("What is broken.", ["Input", "Fault", "What"], faults, numbers=()))
    if why.suspects:
        moved = [
            [
                one.column,
                fixed(one.effect, 3),
                fixed(one.usual, 3),
                percent(why.importance.get(one.column, 0.0)),
                one.sentence,
            ]
            for one in why.suspects[:_ROWS]
        ]
        made.append(
            _grid("What moved.", ["Input", "Distance", "Usual", "Of the score", "What"], moved, numbers=(1, 2, 3))
        )
    if why.carriers:
        slices = [
            [
                one.slice,
                percent(one.rows_share),
                percent(min(one.share, 1.0)),
                _interval(one.rise),
                _p(one.p_adjusted),
            ]
            for one in why.carriers[:_ROWS]
        ]
        heads = ["Slice", "Of the rows", "Of the harm", "Its loss rose by", "p, corrected"]
        made.append(_grid("Where it hurts.", heads, slices, numbers=(1, 2, 3, 4)))
    return made


def _behind(watched: Watched) -> list[Markup]:
    """The picture behind each of the first causes."""
    made = []
    for place, one in enumerate(watched.why.causes[:_PICTURES]):
        picture = one.picture
        if picture is None:
            continue
        drawn = both(lambda width, name, one=picture: cause_chart(watched, one, width, name), f"cause-{place}")  # type: ignore[misc]
        if drawn is None:
            continue
        caption = (
            f"{one.subject}: {picture.label}. The line across is what was usual in the reference, which is shaded."
        )
        if drawn is not None:
            made.append(element("figure", drawn, element("figcaption", caption)))
    return made


def _versions(watched: Watched) -> list[Markup]:
    rows = [[moment(one.at), one.before, one.after] for one in watched.earlier.changes]
    return [_grid("Changes of version.", ["At", "From", "To"], rows, numbers=())] if rows else []


def _interval(one: Interval) -> str:
    return f"{fixed(one.mean, 4)} ({fixed(one.lower, 4)} to {fixed(one.upper, 4)})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else fixed(value, 4)  # noqa: PLR2004 - four decimals


def _grid(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (1, 2, 3, 4, 5)
) -> Markup:
    head = element("tr", *(column(label, number=place in numbers) for place, label in enumerate(heads)))
    body = [
        element(
            "tr",
            *(element("td", cell, class_="number" if place in numbers else None) for place, cell in enumerate(row)),
        )
        for row in rows
    ]
    return table(caption, head, element("tbody", *body))
