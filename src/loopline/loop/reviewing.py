"""What reviewers do, whichever door they come through: the terminal or the control plane."""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from loopline.access.identity import Identity, require
from loopline.access.permissions import Permission
from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.labels.review import queue
from loopline.labels.review.counts import ReviewCounts, count
from loopline.labels.review.item import Answer, ReviewItem
from loopline.loop.deployment import declared_output
from loopline.loop.personal_reads import rows_for
from loopline.loop.resources import Resources
from loopline.loop.review import declared_reviews
from loopline.scoring.feature_columns import one_of_each
from loopline.scoring.record import prediction_table
from loopline.values import MICROSECOND

_WORDS = {"positive": 1.0, "true": 1.0, "yes": 1.0, "1": 1.0, "negative": 0.0, "false": 0.0, "no": 0.0, "0": 0.0}
_MODEL_SAID = ("score", "outputs", "decision")

Label = float | bool | str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """An item as a reviewer sees it: the features as the model had them, and the `choices` for its label (empty: a number).

    Persons are called by pseudonyms unless their values were asked for in clear. `said` is what the model made of it: empty unless asked for, since who
    knows it is swayed by it. `label` is what holds of the answers, and `told` the true label where it came.
    """

    id: str
    project: str
    model: str
    prediction_id: str
    state: str
    key: str
    at: datetime
    scored_at: datetime
    reason: str
    propensity: float
    priority: float
    expires_at: datetime
    claimed_by: str | None
    choices: list[str]
    features: dict[str, Any]
    said: dict[str, Any]
    label: float | None
    told: float | None
    answers: list[Answer]


class Sight(msgspec.Struct, frozen=True):
    """What a reviewer asks to see: what the model said, and personal values in clear, for which there has to be a reason."""

    model_said: bool = False
    clear: bool = False
    reason: str = "to review it"


UNSWAYED = Sight()


def list_reviews(
    resources: Resources,
    who: Identity,
    *,
    project: str,
    model: str | None = None,
    states: tuple[str, ...] = (),
    limit: int | None = None,
) -> list[ReviewItem]:
    """Items, the costliest first; keys that are personal are pseudonyms."""
    require(who, Permission.REVIEWS_READ)
    with resources.database.reading() as tx:
        found = queue.find(tx, project, model=model, states=states, limit=limit)
    hidden = {one: _keys_hidden(resources, project, one) for one in {item.model for item in found}}
    return [
        msgspec.structs.replace(item, key=resources.pseudonyms.of(item.key)) if hidden[item.model] else item
        for item in found
    ]


def next_review(
    resources: Resources,
    who: Identity,
    *,
    project: str,
    model: str | None = None,
    sight: Sight = UNSWAYED,
    at: datetime,
) -> Review | None:
    """Claim the costliest item that nobody holds; None where nothing waits. `at` is the machine's time, for the ledger of access."""
    require(who, Permission.REVIEWS_ANSWER)
    with resources.database.transaction() as tx:
        terms = declared_reviews(tx, project)
        now = resources.clock.now()
        item = queue.claim(tx, project, model=model, by=who.principal, terms=terms, at=now)
    return None if item is None else _seen(resources, who, item, sight, at)


def show_review(
    resources: Resources, who: Identity, *, project: str, review_id: str, sight: Sight = UNSWAYED, at: datetime
) -> Review:
    """One item. Raises `NotFound`, and `NotPermitted` where personal values are asked for in clear by who may not see them."""
    require(who, Permission.REVIEWS_READ)
    with resources.database.reading() as tx:
        item = queue.get(tx, project, review_id)
    return _seen(resources, who, item, sight, at)


def answer_review(
    resources: Resources,
    who: Identity,
    *,
    project: str,
    review_id: str,
    label: Label,
    note: str = "",
    correct: bool = False,
) -> ReviewItem:
    """Give an item its label. Raises `InvalidInput` "review.label", and as `queue.answer`."""
    require(who, Permission.REVIEWS_ANSWER)
    with resources.database.transaction() as tx:
        found = queue.get(tx, project, review_id)
        number = number_of(label, declared_output(tx, project, found.model))
        done = queue.answer(
            tx, project, review_id, number, by=who.principal, at=resources.clock.now(), note=note, correct=correct
        )
    return _discreet(resources, done)


def skip_review(resources: Resources, who: Identity, *, project: str, review_id: str, note: str = "") -> ReviewItem:
    """Say that one cannot tell: somebody else is asked. Raises as `queue.skip`."""
    require(who, Permission.REVIEWS_ANSWER)
    with resources.database.transaction() as tx:
        done = queue.skip(tx, project, review_id, by=who.principal, at=resources.clock.now(), note=note)
    return _discreet(resources, done)


def release_review(resources: Resources, who: Identity, *, project: str, review_id: str) -> ReviewItem:
    """Give a claim back. Raises as `queue.release`."""
    require(who, Permission.REVIEWS_ANSWER)
    with resources.database.transaction() as tx:
        done = queue.release(tx, project, review_id, by=who.principal, at=resources.clock.now())
    return _discreet(resources, done)


def count_reviews(resources: Resources, who: Identity, *, project: str) -> list[ReviewCounts]:
    """How many items of each model stand where, and how often reviewers and true labels agree."""
    require(who, Permission.REVIEWS_READ)
    with resources.database.reading() as tx:
        return count(tx, project)


def number_of(label: Label, output: Output) -> float:
    """A label as it is kept: 0 or 1, the place of its class, or a number. Raises `InvalidInput` "review.label"."""
    text = str(label).strip()
    if output.kind == "multiclass":
        names = {
            **{str(place): float(place) for place in range(output.width)},
            **dict(zip(output.classes, map(float, range(output.width)), strict=True)),
        }
        found = names.get(text)
    elif output.kind == "binary":
        found = _WORDS.get(text.lower().removesuffix(".0"))
    else:
        found = _finite(text)
    if found is None:
        wanted = " or ".join(choices(output)) or "a number"
        raise InvalidInput("review.label", f"{text[:100]!r} is no label of it", remedy=f"Give {wanted}.")
    return found


def choices(output: Output) -> list[str]:
    """The words for a label; none where it is a number."""
    if output.kind == "multiclass":
        return list(output.classes)
    return ["positive", "negative"] if output.kind == "binary" else []


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _seen(resources: Resources, who: Identity, item: ReviewItem, sight: Sight, at: datetime) -> Review:
    name = prediction_table(item.project, item.model)
    wanted = pl.col("prediction_id") == item.prediction_id
    table = resources.tables.open(name)
    rows = table.read(event_after=item.at - MICROSECOND, event_until=item.at, where=wanted).head(1)
    shown = rows_for(resources, who, name, rows, clear=sight.clear, reason=sight.reason, at=at)
    with resources.database.reading() as tx:
        output = declared_output(tx, item.project, item.model)
    row = shown.row(0, named=True) if shown.height else {}
    said = {column: row[column] for column in _MODEL_SAID if row.get(column) is not None} if sight.model_said else {}
    return Review(
        id=item.id,
        project=item.project,
        model=item.model,
        prediction_id=item.prediction_id,
        state=item.state,
        key=str(row["_key"]) if row else resources.pseudonyms.of(item.key),
        at=item.at,
        scored_at=item.scored_at,
        reason=item.reason,
        propensity=item.propensity,
        priority=item.priority,
        expires_at=item.expires_at,
        claimed_by=item.claimed_by,
        choices=choices(output),
        features=one_of_each(row) if row else {},
        said=said,
        label=item.label,
        told=item.told,
        answers=list(item.answers),
    )


def _discreet(resources: Resources, item: ReviewItem) -> ReviewItem:
    hidden = _keys_hidden(resources, item.project, item.model)
    return msgspec.structs.replace(item, key=resources.pseudonyms.of(item.key)) if hidden else item


def _keys_hidden(resources: Resources, project: str, model: str) -> bool:
    name = prediction_table(project, model)
    return not resources.tables.exists(name) or "_key" in resources.tables.open(name).schema.guarded
