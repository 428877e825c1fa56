"""What reviewers said, as labels: after what is told elsewhere, before what absence means, and weighing what they stand for."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.weights import effective_rows
from loopline.labels.label import Label
from loopline.labels.review import store
from loopline.labels.review.choosing import SAMPLED
from loopline.labels.review.item import ANSWERED, EXPIRED, SKIPPED
from loopline.storage.database import Transaction
from loopline.tables.schema import UTC_TIME

PROPENSITY = "review_propensity"
LEAST_EFFECTIVE_ROWS = 30

_SCHEMA = {"_key": pl.String(), "_known_at": UTC_TIME, "label": pl.Float64(), "propensity": pl.Float64()}


@dataclass(frozen=True)
class Reviewed:
    """The label that reviewers gave to each key, as known at a moment: `_key`, `_known_at`, `label`, `propensity`.

    The propensity is the probability that the row was chosen, times the share of such items that were answered. `sampled` says whether
    rows on which the decision did not abstain are among them; without, none can stand for those. No weight is to be above `most_weight`.
    """

    frame: pl.DataFrame
    sampled: bool
    most_weight: float


class ReviewedRows(msgspec.Struct, frozen=True):
    """How far labels of reviewers carry: how many of `rows` labelled rows are theirs, what all of them say as much as (Kish), and the largest
    weight before it was cut down to `most_weight`, which `clipped` were. `warning` says what is wrong with them; empty where nothing is.
    """

    rows: int
    reviewed: int
    effective_rows: float
    largest_weight: float
    most_weight: float
    clipped: int
    warning: str = ""


def reviewed_labels(tx: Transaction, project: str, model: str, until: datetime, *, most_weight: float) -> Reviewed:
    """What reviewers said by `until`; of several answers for a key the last holds."""
    said = pl.DataFrame(
        [
            (row["key"], row["at"], row["label"], row["propensity"], row["reason"])
            for row in store.answers_of(tx, project, model, until)
        ],
        schema={**_SCHEMA, "reason": pl.String()},
        orient="row",
    )
    latest = said.unique("_key", keep="last", maintain_order=True)
    shares = _answered(store.ended(tx, project, model, until))
    answered = pl.col("reason").replace_strict(
        list(shares), list(shares.values()), default=1.0, return_dtype=pl.Float64
    )
    frame = latest.with_columns(propensity=pl.col("propensity") * answered)
    return Reviewed(frame.select(list(_SCHEMA)), bool((said["reason"] == SAMPLED).any()), most_weight)


def _answered(ended: list[dict[str, object]]) -> dict[str, float]:
    """Of the items that ended, which share was answered, by the reason for which they were chosen: those who were not are taken to be missing at random."""
    counts: dict[str, dict[str, int]] = {}
    for row in ended:
        counts.setdefault(str(row["reason"]), {})[str(row["state"])] = int(str(row["items"]))
    asked = {reason: sum(of.get(state, 0) for state in (ANSWERED, SKIPPED, EXPIRED)) for reason, of in counts.items()}
    return {reason: counts[reason].get(ANSWERED, 0) / n for reason, n in asked.items() if counts[reason].get(ANSWERED)}


def with_reviewed(joined: pl.DataFrame, reviewed: Reviewed) -> pl.DataFrame:
    """`joined`, predictions with what is told of them, with the reviewers' label where nothing is. `review_propensity` is null where the label is
    not theirs.
    """
    own = reviewed.frame.rename({"_known_at": "_reviewed_at", "label": "_reviewed", "propensity": PROPENSITY})
    both = joined.join(own, on="_key", how="left", maintain_order="left")
    silent = pl.col("label").is_null() & ~pl.col("_bound").fill_null(value=False) & pl.col("_reviewed").is_not_null()
    return both.with_columns(
        label=pl.when(silent).then("_reviewed").otherwise("label"),
        label_known_at=pl.when(silent).then("_reviewed_at").otherwise("label_known_at"),
        _ended_at=pl.when(silent).then("_reviewed_at").otherwise("_ended_at"),
        _bound=pl.when(silent).then(pl.lit(value=False)).otherwise("_bound"),
        review_propensity=pl.when(silent).then(PROPENSITY),
    ).drop("_reviewed", "_reviewed_at")


def weigh_reviewed(outcomes: pl.DataFrame, label: Label, reviewed: Reviewed) -> pl.DataFrame:
    """`outcomes`, which have a `weight`: a row with a reviewer's label stands for all that were as likely to be chosen and have none, and weighs the
    inverse of its propensity (Horvitz and Thompson, 1952), clipped; one whose label was told stands for itself.

    Where absence is a label no row lacks one, and all weigh as they do.
    """
    if label.absent == "negative":
        return outcomes
    inverse = (1 / pl.col(PROPENSITY)).clip(upper_bound=reviewed.most_weight).fill_null(1.0)
    return outcomes.with_columns(weight=pl.col("weight") * inverse)


def carrying(outcomes: pl.DataFrame, label: Label, reviewed: Reviewed) -> ReviewedRows:
    """How far the labelled ones of `outcomes` carry. Raises `InvalidInput` "review.no_overlap" where only rows that abstained are labelled: no weight
    makes up for rows that had no chance.
    """
    known = outcomes.filter(pl.col("label").is_not_null())
    theirs = known.filter(pl.col(PROPENSITY).is_not_null())
    told = known.height - theirs.height
    if theirs.height and not told and not reviewed.sampled:
        raise InvalidInput(
            "review.no_overlap",
            f"all {theirs.height} labels are reviewers' of rows on which the decision abstained; rows that it decided had no chance to get one",
            remedy="Declare a share of the others to review as well, review=ll.review(share=0.02), or wait for labels of the label's own source.",
        )
    raw = 1 / theirs[PROPENSITY] if label.absent != "negative" else pl.Series([1.0] * theirs.height, dtype=pl.Float64)
    effective = effective_rows(known["weight"].to_numpy())
    clipped = int((raw > reviewed.most_weight).sum())
    warning = ""
    if theirs.height and not reviewed.sampled:
        warning = "reviewers' labels are all of rows that abstained, and stand for those alone"
    elif theirs.height and effective < LEAST_EFFECTIVE_ROWS:
        warning = f"{known.height} labelled rows say as much as {effective:.0f}"
    largest = float(raw.max() or 1.0) if len(raw) else 1.0  # type: ignore[arg-type]
    return ReviewedRows(known.height, theirs.height, effective, largest, reviewed.most_weight, clipped, warning)
