"""The check as one HTML file that needs nothing else."""

from loopline.app.checking.bias import MEANING, GroupTable
from loopline.app.checking.check_report import CheckReport
from loopline.app.checking.pictures import column_picture, groups_picture
from loopline.app.report.document import document, section
from loopline.app.report.figure import count, fixed, percent
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.table import column, table
from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.finding import Finding

_MORE = """
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:20px 24px}
.card{border:1px solid var(--rule);border-radius:6px;padding:12px 14px;overflow:hidden}
.card h3{margin:0 0 2px}
.card p{margin:0 0 6px}
.card svg{width:260px;max-width:100%}
.error td:first-child{color:var(--alarm);font-weight:600}
.warning td:first-child{color:var(--bad);font-weight:600}
pre{background:var(--faint);padding:12px 14px;border-radius:6px;overflow:auto;font-size:12px;line-height:1.45}
""".strip()


def check_html(report: CheckReport) -> str:
    """The report as one HTML file: no script, nothing fetched. Values that may be personal are masked."""
    return document(f"Check of {report.where}", _header(report), *_sections(report), style=_MORE)


def _header(report: CheckReport) -> Markup:
    grave = [sum(one.level == level for one in report.findings) for level in ("error", "warning", "note")]
    told = f"{grave[0]} errors, {grave[1]} warnings, {grave[2]} notes in {count(report.rows)} rows and {count(len(report.columns))} columns."
    sampled = f" {count(report.looked_at)} rows were looked at." if report.looked_at < report.rows else ""
    return element(
        "header",
        element("p", "Check", class_="eyebrow"),
        element("h1", report.where),
        element("p", f"{len(report.files)} of {report.format}.{sampled}", class_="quiet"),
        element("p", told, class_="headline"),
    )


def _sections(report: CheckReport) -> list[Markup]:
    made = [section("Findings", _findings(report.findings))]
    if report.label is not None and report.label.kind is not None:
        made.append(section(f"Label: {report.label.column}", *_label(report)))
    if report.groups:
        shown = [part for number, one in enumerate(report.groups) for part in _groups(one, number)]
        made.append(section("Groups", *shown, element("p", MEANING, class_="quiet")))
    if report.compared_with is not None:
        made.append(section(f"Compared with {report.compared_with}", _changes(report)))
    cards = element("div", *(_card(facts, number) for number, facts in enumerate(report.columns)), class_="cards")
    made.append(section("Columns", cards))
    made.append(section("Proposed source", element("pre", element("code", report.schema))))
    return made


def _findings(findings: list[Finding]) -> Markup:
    if not findings:
        return element("p", "Nothing to complain of.")
    head = element("tr", *(column(name) for name in ("Level", "Code", "Column", "What", "What to do")))
    rows = [
        element("tr", *(element("td", cell) for cell in (one.level, one.code, one.column or "", one.message, one.remedy)), class_=one.level)
        for one in findings
    ]  # fmt: skip
    return table("Findings, the gravest first.", head, element("tbody", *rows))


def _label(report: CheckReport) -> list[Markup]:
    label = report.label
    made = []
    if label is not None and label.classes:
        total = sum(rows for _, rows in label.classes) or 1
        head = element("tr", column("Class"), column("Rows", number=True), column("Share", number=True))
        rows = [_cells(name, count(rows), percent(rows / total)) for name, rows in label.classes]
        made.append(table("Known labels.", head, element("tbody", *rows)))
    head = element("tr", column("Column"), column("By"), column("Strength", number=True), column("What"))
    told = [
        element(
            "tr",
            element("td", tell.column),
            element("td", tell.by),
            element("td", f"{tell.measure} {fixed(tell.strength, 3)}", class_="number"),
            element("td", tell.sentence),
            class_="error" if tell.suspect else None,
        )
        for tell in report.tells[:20]
    ]
    made.append(
        table("What single columns tell of the label; suspects are too good to be true.", head, element("tbody", *told))
    )
    return made


def _groups(made: GroupTable, number: int) -> list[Markup]:
    head = element("tr", column(made.column), *(column(name, number=True) for name in ("Rows", "Share", "Label", "95 % interval", "Gap to others")))  # fmt: skip
    rows = [
        _cells(group.name, count(group.rows), percent(group.share), fixed(group.mean, 3), _between(group.lower, group.upper), fixed(group.gap, 3, sign=True))
        for group in made.groups
    ]  # fmt: skip
    missing = [element("li", f"{gap.column} is missing in {percent(gap.share)} of {gap.group}, in {percent(gap.others)} of the others.") for gap in made.missing]  # fmt: skip
    shown = [element("h3", made.column), element("figure", groups_picture(made.column, made.groups, number))]
    return [*shown, table(f"The label by {made.column}.", head, element("tbody", *rows)), *([element("ul", *missing)] if missing else [])]  # fmt: skip


def _between(low: float | None, high: float | None) -> str:
    return f"{fixed(low, 3)} to {fixed(high, 3)}"


def _changes(report: CheckReport) -> Markup:
    if not report.changes:
        return element("p", "No column's distribution differs beyond chance.")
    head = element("tr", column("Column"), *(column(name, number=True) for name in ("Distance", "By chance", "PSI")), column("What"))  # fmt: skip
    rows = [
        element("tr", element("th", one.column, scope="row"), *(element("td", fixed(value, 3), class_="number") for value in (one.distance, one.usual, one.psi)), element("td", one.sentence))
        for one in report.changes
    ]  # fmt: skip
    return table("Distance is Jensen and Shannon's, from 0 to 1.", head, element("tbody", *rows))


def _card(facts: ColumnFacts, number: int) -> Markup:
    drawn = column_picture(facts, number)
    nulls = f", {percent(facts.null_share)} missing" if facts.nulls else ""
    typed = facts.kind if facts.read == facts.proposed else f"{facts.kind} (read as {facts.read})"
    about = f"{typed}, {count(facts.distinct)} distinct{nulls}"
    examples = f"Such as {', '.join(facts.examples)}" if facts.examples and not facts.counts else ""
    personal = [element("p", f"May be about persons: {facts.personal.kind}. Masked.", class_="quiet")] if facts.personal else []  # fmt: skip
    return element(
        "div",
        element("h3", facts.name),
        element("p", about, class_="quiet"),
        *personal,
        drawn or element("p", examples, class_="quiet"),
        class_="card",
    )


def _cells(name: str, *figures: str) -> Markup:
    return element("tr", element("th", name, scope="row"), join(element("td", one, class_="number") for one in figures))
