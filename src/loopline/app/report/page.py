"""The page: one HTML file that needs nothing else."""

from loopline.app.report.choice import choice_section
from loopline.app.report.counts import counts_sentence
from loopline.app.report.document import both, document, headed, section
from loopline.app.report.figure import moment, times
from loopline.app.report.harm_chart import HarmScales, beyond, description, harm_chart, harm_scales
from loopline.app.report.headline import headline
from loopline.app.report.loss_chart import constant_by_month, loss_chart
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.measure import TITLES
from loopline.app.report.table import column, comparison_table, key, months_table, table
from loopline.app.report.timeline import timeline
from loopline.loop.choose import Choice
from loopline.loop.compare import Comparison, PolicyResult

_GLOSSARY = (
    (
        "Excess",
        "the loss of a day's predictions minus that of the baseline on the same rows; below 0 is better than it.",
    ),
    (
        "Evidence",
        "how strongly the days speak for more excess than allowed; false alarms stay rare however often one looks.",
    ),
    ("Page", "an incident of harm that people were told of. Drift alone never pages."),
    ("Retrain", "a model version trained and registered; the gates decide whether it is promoted."),
    ("Cost", "what the decisions cost by the declared costs of mistakes and reviews, per 1,000 labelled predictions."),
)


def report_html(comparison: Comparison, choice: Choice | None = None) -> str:
    """The comparison, and the choice of a policy if there was one, as one HTML file: no script, nothing fetched, times in UTC.

    Equal comparisons give equal bytes.
    """
    title = f"{comparison.loop}: {comparison.model}"
    return document(f"Replay of {title}", _header(comparison, title), *_sections(comparison, choice))


def _header(comparison: Comparison, title: str) -> Markup:
    period = (
        f"{moment(comparison.start)} to {moment(comparison.until)}, judged since the first champion began to serve on "
        f"{moment(comparison.since)}. All times are UTC."
    )
    return headed("Replay", title, period, headline(comparison))


def _sections(comparison: Comparison, choice: Choice | None) -> list[Markup]:
    reading = (
        "★ marks the best of a row, as shown. Under a figure: the policy minus the loop on the same rows, with the 95 % interval "
        f"over days; less is better. {counts_sentence(comparison)}"
    )
    return [
        section("Comparison", comparison_table(comparison), element("p", reading, class_="quiet")),
        *([section("Chosen by replay", *choice_section(choice))] if choice else []),
        section("Loss by month", *_months(comparison)),
        section("Harm", *_harm(comparison)),
        section("Events", timeline(comparison)),
        section("Assumptions", _assumptions(comparison)),
        section("Glossary", element("dl", *(_entry(*entry) for entry in _GLOSSARY))),
        section("Ledgers", _ledgers(comparison)),
    ]


def _months(comparison: Comparison) -> list[Markup]:
    drawn = both(lambda width, name: loss_chart(comparison, width=width, name=name), "loss")
    if drawn is None:
        return [element("p", "No month has a labelled prediction.", class_="quiet")]
    caption = (
        f"Mean {TITLES[comparison.loss].lower()} of the predictions made in each month; lower is better. Grey: "
        "always predicting what is best for the month. ▲ promotion, ▼ rollback."
    )
    figures = element(
        "details", element("summary", "The figures"), months_table(comparison, constant_by_month(comparison))
    )
    return [element("figure", drawn, element("figcaption", caption)), figures]


def _harm(comparison: Comparison) -> list[Markup]:
    scales = harm_scales(comparison)
    intro = (
        "Dots are days, the line is the mean of the last 7 days; all policies share the scales. ◆ alarm (raised once the day's "
        "labels have matured), ● evidence at its threshold, ▲ promotion, ▼ rollback. Evidence starts again at 0 after an alarm. "
        "Shaded: before the first champion."
    )
    return [
        element("p", intro, class_="quiet"),
        *(_harm_of(result, number, scales) for number, result in enumerate(comparison.policies)),
    ]


def _harm_of(result: PolicyResult, number: int, scales: HarmScales) -> Markup:
    heading = element("h3", key(number), result.policy)
    drawn = both(lambda width, name: harm_chart(result, number, scales, width=width, name=name), f"harm-{number}")
    if drawn is None:
        return join([heading, element("p", "No day was watched.", class_="quiet")])
    outside = beyond(result, scales)
    note = f" Beyond the scale, hollow at its edge: {times(outside, 'day')}." if outside else ""
    caption = element("figcaption", description(result, scales) + note)
    return join([heading, element("figure", drawn, caption)])


def _assumptions(comparison: Comparison) -> Markup:
    made = [
        *(f"{told[:1].upper()}{told[1:]}." for told in (text.rstrip(".") for text in comparison.assumptions) if told),
        "Intervals hold 95 % for one comparison at a time and let the rows of one day depend on each other.",
        "Training seconds were measured on the machine of the replay.",
    ]
    return element("ul", *(element("li", told) for told in made))


def _entry(word: str, meaning: str) -> Markup:
    return element("div", element("dt", word), element("dd", meaning))


def _ledgers(comparison: Comparison) -> Markup:
    head = element("tr", column("Policy"), column("Project"), column("Ledger digest"))
    body = [
        element(
            "tr",
            element("th", key(number), result.policy, scope="row"),
            element("td", result.project),
            element("td", element("code", result.ledger)),
        )
        for number, result in enumerate(comparison.policies)
    ]
    return table("The same loop, data and seed give the same digests again.", head, element("tbody", *body))
