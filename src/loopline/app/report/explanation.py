"""Explanations as pages: which fields matter to a version, and what each added to one prediction."""

from loopline.app.report.bars import Bar, bars
from loopline.app.report.document import document, heading, section
from loopline.app.report.figure import MISSING, count, fixed
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.table import column, table
from loopline.loop.explain import ExplainedPrediction, ExplainedVersion
from loopline.models.explanation import ExplanationSummary, FieldEffect

UNITS = {"log_odds": "log-odds", "probability": "probability", "value": "the model's own unit"}
_SHOWN = 20


def version_html(found: ExplainedVersion) -> str:
    """The summary of a version as one HTML file. Equal summaries give equal bytes."""
    title = f"{found.model}:{found.version}"
    fields = [element("section", element("h3", field.name), _levels(field)) for field in found.summary.fields[:_SHOWN]]
    return document(
        f"Explanation of {title}",
        heading("Explanation", title, summary_sentence(found.summary)),
        section("Importance", importance_figure(found.summary), importance_table(found.summary)),
        section("What the values add", *[one for one in fields if one]),
    )


def prediction_html(found: ExplainedPrediction) -> str:
    """One prediction taken apart, as one HTML file."""
    told, unit = found.explanation, UNITS[found.explanation.unit]
    drawn = bars([Bar(*one) for one in told.contributions.items()], title=f"Contributions in {unit}")
    sentence = (
        f"{found.model}:{found.version} scored {found.score:.4f} ({found.decision}). In {unit}: {told.base:+.4f} on average over "
        f"{told.background_rows} rows of the background, {told.total:+.4f} here; what each field added lies between. "
        f"Method: {told.method}."
    )
    head = element("tr", column("Field"), column("Value"), column("Added", number=True))
    body = [
        element("tr", element("th", name, scope="row"), element("td", shown(found.values[name])), _number(added, 4))
        for name, added in told.contributions.items()
    ]
    return document(
        f"Explanation of {found.prediction_id}",
        heading("Explanation", found.prediction_id, sentence),
        section("Contributions", element("figure", drawn), table(f"In {unit}.", head, element("tbody", *body))),
    )


def summary_sentence(summary: ExplanationSummary) -> str:
    """What was worked out, how, and from what."""
    base = "" if summary.base is None else f" The mean over the background is {summary.base:+.4g}."
    return (
        f"Mean size of each field's contribution, in {UNITS[summary.unit]}, over {count(summary.rows)} rows ({summary.of_rows}), "
        f"against {count(summary.background_rows)} rows of the background. Method: {summary.method}.{base}"
    )


def importance_figure(summary: ExplanationSummary) -> Markup:
    """The most important fields as bars."""
    given = [Bar(field.name, field.importance) for field in summary.fields[:_SHOWN]]
    return element("figure", bars(given, title="Mean size of contribution"))


def importance_table(summary: ExplanationSummary) -> Markup:
    """All fields with importance, share and direction."""
    head = element("tr", column("Field"), *(column(name, number=True) for name in ("Importance", "Share", "Direction")))
    body = [
        element(
            "tr",
            element("th", field.name, scope="row"),
            _number(field.importance, 4),
            _number(100 * field.share, 1),
            _number(field.direction, 2),
        )
        for field in summary.fields
    ]
    caption = "Share is in percent. Direction is the correlation of a number's value with what it adds."
    return table(caption, head, element("tbody", *body))


def shown(value: object) -> str:
    """A field's value as people read it."""
    if value is None:
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _levels(field: FieldEffect) -> Markup:
    if not field.levels:
        return element(
            "p", "Of its values nothing is told: it is personal, or the model has several outputs.", class_="quiet"
        )
    drawn = bars([Bar(level.name, level.mean) for level in field.levels], title=f"Mean contribution by {field.name}")
    rows = ", ".join(f"{level.name}: {level.rows}" for level in field.levels)
    return join([element("figure", drawn, element("figcaption", f"Rows: {rows}."))])


def _number(value: float | None, decimals: int) -> Markup:
    return element("td", fixed(value, decimals), class_="number")
