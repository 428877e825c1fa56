"""The model card in blocks: each section says what is recorded, or that it was not measured and how to measure it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from loopline.app.report import bias as bias_report
from loopline.app.report.bars import Bar
from loopline.app.report.blocks import Block, Drawing, Grid, Part, Text, as_html, as_markdown
from loopline.app.report.explanation import summary_sentence
from loopline.app.report.figure import MISSING, count, fixed, moment, percent
from loopline.evaluation.held_out import Estimate
from loopline.loop.card import Card, Change
from loopline.models.signature import Field

_MOST = 20


def card_markdown(card: Card) -> str:
    """The card in Markdown. Equal cards give equal bytes."""
    return as_markdown("Model card", _title(card), _lead(card), card_parts(card))


def card_html(card: Card) -> str:
    """The card as one HTML file with pictures."""
    return as_html("Model card", _title(card), _lead(card), card_parts(card))


def card_parts(card: Card) -> list[Part]:
    """Every section, in order."""
    made: list[tuple[str, list[Block]]] = [
        ("What it is for", _purpose(card)),
        ("Data", _data(card)),
        ("Features", _features(card)),
        ("Training", _training(card)),
        ("Performance on rows held out", _performance(card)),
        ("Performance in operation", _operation(card)),
        ("Calibration", _calibration(card)),
        ("Decision", _decision(card)),
        ("Slices", _slices(card)),
        ("Groups of people", _bias(card)),
        ("Which features matter", _explanation(card)),
        ("Packaged as trained", _parity(card)),
        ("Known limits", _limits(card)),
        ("Lineage", _lineage(card)),
        ("Approvals", _approvals(card)),
        ("Incidents while it served", _incidents(card)),
        ("Who changed what", _changes(card.changes)),
    ]
    return [Part(title, tuple(blocks)) for title, blocks in made]


def _title(card: Card) -> str:
    return f"{card.model}:{card.version}"


def _lead(card: Card) -> str:
    served = "; ".join(
        f"champion from {moment(one.since)} {'on' if one.until is None else f'until {moment(one.until)}'}"
        for one in card.served
    )
    return (
        f"Project {card.project}. Registered {moment(card.created_at)} by {card.created_by}; {served or 'never champion'}. "
        "All times are UTC. Every figure is read from what is recorded."
    )


def _missing(how: str) -> list[Block]:
    return [Text(f"Not measured. {how}")]


def _purpose(card: Card) -> list[Block]:
    owner = f"Owner: {card.owner}." if card.owner else "No owner is named: say owner= in the loop file."
    told = card.purpose or "Not said. Give the model's function in the loop file a docstring."
    return [Text(told), Text(owner)]


def _data(card: Card) -> list[Block]:
    lineage, label = card.lineage, card.lineage.get("label", {})
    tables = lineage.get("tables", {})
    if not tables:
        return _missing("The version was registered without the tables it was trained on.")
    told = [("known as of", str(lineage.get("as_of", ""))), ("training rows", count(lineage.get("rows")))]
    told += [(f"label: {name}", _text(value)) for name, value in sorted(label.items()) if value not in (None, [], "")]
    versions = Grid(("table", "version"), tuple((name, str(version)) for name, version in sorted(tables.items())))
    return [versions, _facts(told)]


def _features(card: Card) -> list[Block]:
    if card.package is None:
        return _missing("The package is gone; restore the artifact store.")
    rows = [_field_row(field) for field in card.package.signature.fields]
    views = [
        f"{view.get('table', '')} by {view.get('by', '')}: {', '.join(view.get('features', {}))}"
        for view in card.lineage.get("views", [])
    ]
    told = Text(f"Feature views: {'; '.join(views)}." if views else "No feature views: the caller sends every feature.")
    return [Grid(("feature", "kind", "from", "in training", "missing in training"), tuple(rows)), told]


def _field_row(field: Field) -> tuple[str, ...]:
    values = f"{len(field.categories)} categories" if field.kind == "category" else MISSING
    if field.minimum is not None and field.maximum is not None:
        values = f"{field.minimum:.6g} to {field.maximum:.6g}"
    return (field.name, field.kind, "caller" if field.given else "look-up", values, "yes" if field.nulls else "no")


def _training(card: Card) -> list[Block]:
    lineage = card.lineage
    told = [("params", _text(lineage.get("params", {}))), ("seed", _text(lineage.get("seed")))]
    told += [("found by search", _text(lineage["search"]))] if "search" in lineage else []
    told += [("code", _text(lineage.get("code"))), ("run", card.run_id or MISSING)]
    libraries = sorted(card.package.libraries.items()) if card.package else []
    return [_facts([*told, *((f"library: {name}", version) for name, version in libraries)])]


def _performance(card: Card) -> list[Block]:
    found = card.held_out
    if found is None:
        return _missing("Retrain: what held-out rows show is kept with each new version.")
    rows = [
        (name.replace("_", " "), fixed(one.mean, 4), _bounds(one), fixed(found.constants.get(name), 4))
        for name, one in found.losses.items()
    ]
    return [
        Grid(
            ("loss", "mean", f"bounds, {found.confidence:.0%}", "best constant"),
            tuple(rows),
            f"{count(found.rows)} rows from {moment(found.start)} to {moment(found.end)}; bounds over blocks of {found.block}; the best "
            "constant is that of these very rows.",
        )
    ]


def _operation(card: Card) -> list[Block]:
    if not card.months:
        return _missing("It is measured block by block while the version serves, once labels have matured.")
    rows = [
        (
            month.month,
            count(month.predictions),
            count(month.labelled),
            *_estimate(month.loss),
            fixed(month.baseline, 4),
            *_estimate(month.cost),
        )
        for month in card.months
    ]
    columns = ("month", "predictions", "labelled", card.watched_loss.replace("_", " "), "bounds, 95%", "baseline")
    drawn = [
        Bar(month.month, month.loss.mean, month.loss.lower, month.loss.upper) for month in card.months if month.loss
    ]
    return [
        Grid((*columns, "cost", "bounds, 95%"), tuple(rows), "Blocks that this version alone answered."),
        Drawing(f"{card.watched_loss.replace('_', ' ')} by month", tuple(drawn)),
    ]


def _calibration(card: Card) -> list[Block]:
    chosen = card.lineage.get("calibration", {})
    told: list[Block] = [Text(f"Calibration: {chosen.get('name', 'none')}.")] if chosen else []
    curve = card.held_out.reliability if card.held_out else None
    if curve is None:
        return [*told, *_missing("A reliability curve is drawn of held-out rows of models of two classes.")]
    rows = [
        (f"{one.low:.3f} to {one.high:.3f}", count(one.rows), fixed(one.mean_score, 3), fixed(one.base_rate, 3))
        for one in curve.bins
    ]
    drawn = [Bar(f"{one.mean_score:.3f}", one.base_rate - one.mean_score) for one in curve.bins]
    caption = (
        f"Expected calibration error {curve.expected_error:.4f}, largest {curve.largest_error:.4f}, on rows held out."
    )
    return [
        *told,
        Grid(("scores", "rows", "mean score", "share of positives"), tuple(rows), caption),
        Drawing("Share of positives minus mean score, by mean score", tuple(drawn)),
    ]


def _decision(card: Card) -> list[Block]:
    body = card.lineage.get("decision")
    if not body or body.get("type") == "none":
        return _missing("Nothing is decided: say decide= in the loop file.")
    told = [(name.replace("_", " "), _text(value)) for name, value in sorted(body.items()) if name != "type"]
    found = card.held_out
    if found and found.cost:
        told.append(
            ("expected cost per prediction, on rows held out", f"{found.cost.mean:.4f} ({_bounds(found.cost)})")
        )
    shares = sorted(found.decisions.items()) if found else []
    return [_facts([*told, *((f"share decided {name}", percent(share)) for name, share in shares)])]


def _slices(card: Card) -> list[Block]:
    found = card.held_out
    if found is None or not found.slices:
        return _missing("Slices need a hundred held-out rows each: lengthen the model's holdout.")
    rows = [
        (one.name, count(one.loss.rows), fixed(one.loss.mean, 4), _bounds(one.loss)) for one in found.slices[:_MOST]
    ]
    loss = found.loss.replace("_", " ")
    return [
        Grid(
            ("slice", "rows", loss, "bounds, 95%"),
            tuple(rows),
            f"The {len(rows)} worst of {len(found.slices)}, each bound for itself.",
        )
    ]


def _bias(card: Card) -> list[Block]:
    if card.bias is None:
        return _missing('Declare the model with bias=ll.bias(by=["..."]) and retrain, or run `loopline bias` on files.')
    told: list[Block] = [Text(bias_report.lead(card.bias))]
    for part in bias_report.bias_parts(card.bias):
        told += [Text(f"{part.title}:"), *part.blocks]
    return told


def _explanation(card: Card) -> list[Block]:
    found = card.explanation
    if found is None:
        return _missing("The rows to compare with are not kept: retrain without explain=False.")
    rows = [
        (one.name, fixed(one.importance, 4), percent(one.share), fixed(one.direction, 2))
        for one in found.fields[:_MOST]
    ]
    drawn = [Bar(one.name, one.importance) for one in found.fields[:_MOST]]
    return [
        Text(summary_sentence(found)),
        Grid(("feature", "importance", "share", "direction"), tuple(rows)),
        Drawing("Importance", tuple(drawn), in_text=True),
    ]


def _parity(card: Card) -> list[Block]:
    if card.package is None:
        return _missing("The package is gone; restore the artifact store.")
    proof = card.package.parity
    told = [("format", str(card.package.format)), ("rows compared", count(proof.rows))]
    told += [(f"cases: {name}", count(number)) for name, number in sorted(proof.cases.items())]
    told += [(f"why not {name}", reason) for name, reason in sorted(card.package.refused.items())]
    told += [("nodes of trees compared", count(proof.nodes_compared))] if proof.nodes_compared else []
    told += [("splits checked", f"{count(proof.thresholds_checked)} of {count(proof.thresholds)}")]
    told += [("largest difference", f"{proof.max_abs_difference:.3g}"), ("allowed", f"{proof.tolerance:.3g}")]
    return [_facts(told)]


def _limits(card: Card) -> list[Block]:
    told = list(_gaps(card))
    return [Text(one) for one in told] if told else [Text("None is recorded.")]


def _gaps(card: Card) -> Iterable[str]:
    if card.package is not None:
        fields = card.package.signature.fields
        unseen = [field.name for field in fields if not field.nulls]
        if not card.package.takes_missing:
            yield "It takes no missing values: such rows are answered by the version before, or the fallback."
        elif unseen:
            yield f"Never missing in training, and flagged where they are: {', '.join(unseen)}."
    if card.bias is not None:
        small = [name for found in card.bias.groupings for name in found.not_judged]
        if small:
            yield f"Groups with too few rows to be judged: {'; '.join(small)}."
    if card.health is None:
        yield "It has answered nothing yet: how it does in operation is not known."
    else:
        share = card.health.degraded / card.health.predictions
        codes = ", ".join(f"{name} {count(number)}" for name, number in card.health.codes.items())
        yield f"{percent(share)} of its {count(card.health.predictions)} predictions were not in full health{f': {codes}' if codes else ''}."
    if card.held_out is not None and any(one.lower is None for one in card.held_out.losses.values()):
        yield "Its held-out rows lie in a single block: no bound says how sure the losses are."
    unlabelled = [month.month for month in card.months if month.labelled < month.predictions / 2]
    if unlabelled:
        yield f"Months with labels for less than half of the predictions: {', '.join(unlabelled)}."


def _lineage(card: Card) -> list[Block]:
    digests = {name: value for name, value in card.lineage.items() if str(value).startswith("sha256:")}
    digests |= {"package": card.package_digest}
    if card.package is not None:
        digests |= {f"model {place}": digest for place, digest in enumerate(card.package.models)}
    return [_facts([(name.replace("_", " "), str(digest)) for name, digest in sorted(digests.items())])]


def _approvals(card: Card) -> list[Block]:
    if not card.approvals:
        return [Text("None was asked for.")]
    rows = [
        (
            one.environment,
            one.role,
            one.state,
            one.asked_by,
            moment(one.asked_at),
            one.decided_by or MISSING,
            _when(one.decided_at),
            one.reason or MISSING,
        )
        for one in card.approvals
    ]
    return [Grid(("environment", "role", "state", "asked by", "at", "decided by", "at", "reason"), tuple(rows))]


def _incidents(card: Card) -> list[Block]:
    if not card.incidents:
        return [Text("None." if card.served else "It never served.")]
    rows = [
        (one.id, one.kind, one.state, moment(one.opened_at), _when(one.closed_at), one.sentence)
        for one in card.incidents
    ]
    return [Grid(("incident", "kind", "state", "opened", "closed", "what"), tuple(rows))]


def _changes(changes: Sequence[Change]) -> list[Block]:
    if not changes:
        return [Text("The ledger has no entry about this version.")]
    rows = [
        (
            count(one.seq),
            moment(one.at),
            one.kind,
            one.actor,
            _why(one),
            one.digest[:19],
        )
        for one in changes
    ]
    return [Grid(("entry", "at", "what", "who", "why", "digest"), tuple(rows))]


def _why(change: Change) -> str:
    told = [f"{change.cause.rstrip('.')}." if change.cause else "", *change.verdicts]
    return " ".join(one for one in told if one)


def _facts(told: Iterable[tuple[str, str]]) -> Grid:
    return Grid(("what", "recorded"), tuple(told))


def _estimate(found: Estimate | None) -> tuple[str, str]:
    return (MISSING, MISSING) if found is None else (fixed(found.mean, 4), _bounds(found))


def _bounds(found: Estimate) -> str:
    if found.lower is None or found.upper is None:
        return MISSING
    return f"{fixed(found.lower, 4)} to {fixed(found.upper, 4)}"


def _when(at: datetime | None) -> str:
    return MISSING if at is None else moment(at)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(one)}" for name, one in sorted(value.items())) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
