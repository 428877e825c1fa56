"""Which column is what: said by the user, or guessed from names and types, and told either way."""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from loopline.app.study import naming
from loopline.app.study.naming import Schema, first_named, plain
from loopline.errors import InvalidInput

_SHOWN = 6


class Columns(msgspec.Struct, frozen=True):
    """What each column was taken as. `score` names several columns where each is a class or a quantile.

    `label_in` says whether the label stands in the file of the `predictions` or in that of the `labels`.
    """

    id: tuple[str, ...] = ()
    at: str = ""
    score: tuple[str, ...] = ()
    label: str = ""
    label_at: str = ""
    decision: str = ""
    version: str = ""
    earlier: str = ""
    group: str = ""
    features: tuple[str, ...] = ()
    label_in: str = "labels"
    judge: str = ""
    propensity: str = ""

    def told(self) -> str:
        """In words."""
        parts = {
            "id": ", ".join(self.id),
            "time": self.at,
            "score": ", ".join(self.score),
            "label": self.label,
            "time of the label": self.label_at,
            "decision": self.decision,
            "version": self.version,
            "earlier score": self.earlier,
            "group": self.group,
            "judge": self.judge,
            "propensity": self.propensity,
        }
        named = [f"{what} = {name}" for what, name in parts.items() if name]
        more = " and more" if len(self.features) > _SHOWN else ""
        shown = (
            f"{len(self.features)} features ({', '.join(self.features[:_SHOWN])}{more})"
            if self.features
            else "no features"
        )
        return f"Taken as {'; '.join([*named, shown])}."


@dataclass(frozen=True)
class Said:
    """What the user said; what is empty is guessed."""

    id: tuple[str, ...] = ()
    at: str = ""
    score: tuple[str, ...] = ()
    label: str = ""
    label_at: str = ""
    decision: str = ""
    version: str = ""
    group: str = ""
    features: tuple[str, ...] = ()
    judge: str = ""
    propensity: str = ""


NOTHING_SAID = Said()


def guess_columns(predictions: Schema, labels: Schema | None, said: Said) -> Columns:
    """The role of each column. Without `labels` the label stands among the predictions.

    Raises `InvalidInput` where a column that was named is missing, or one that is needed cannot be guessed.
    """
    _check_said(predictions, labels, said)
    at = said.at or first_named(predictions, naming.AT, naming.is_moment) or _other_time(predictions)
    ids = said.id or (() if labels is None else _common_id(predictions, labels, at))
    beside = labels is None
    where = predictions if labels is None else labels
    label = said.label or _label(where, {*ids, at}, alone=not beside)
    label_at = said.label_at or _label_at(where, {*ids, label, at if beside else ""}, alone=not beside)
    used = {*ids, at, said.judge, said.propensity, *((label, label_at) if beside else ())}
    score = said.score or _score(predictions, used)
    used |= set(score)
    version = said.version or first_named(predictions, naming.VERSION, naming.is_any, used)
    earlier = first_named(predictions, naming.EARLIER, naming.is_number, used)
    decision = said.decision or first_named(predictions, naming.DECISION, naming.is_choice, used)
    used |= {version, earlier, decision, said.group}
    features = said.features or tuple(
        name
        for name, dtype in predictions.items()
        if name not in used and naming.is_feature(dtype) and plain(name) not in naming.ID
    )
    label_in = "predictions" if beside else "labels"
    return Columns(
        ids,
        at,
        score,
        label,
        label_at,
        decision,
        version,
        earlier,
        said.group,
        features,
        label_in,
        said.judge,
        said.propensity,
    )


def _check_said(predictions: Schema, labels: Schema | None, said: Said) -> None:
    ours = (
        said.at,
        said.decision,
        said.version,
        said.group,
        said.judge,
        said.propensity,
        *said.score,
        *said.features,
        *said.id,
    )
    theirs = (said.label, said.label_at, *(said.id if labels is not None else ()))
    for schema, names in ((predictions, ours), (labels if labels is not None else predictions, theirs)):
        for name in names:
            if name and name not in schema:
                raise InvalidInput(
                    "alone.no_column", f"there is no column {name!r}", remedy=f"There are: {', '.join(schema)}."
                )


def _other_time(schema: Schema) -> str:
    """A column of times by its type, or else by how its name ends."""
    may = [name for name in schema if plain(name) not in naming.LABEL_AT]
    typed = [name for name in may if schema[name].is_temporal()]
    named = [name for name in may if naming.ends_as_time(name) and naming.is_moment(schema[name])]
    return next(iter([*typed, *named]), "")


def _common_id(predictions: Schema, labels: Schema, at: str) -> tuple[str, ...]:
    """What joins the files: a column that both have, an id by name if there is one."""
    others = {*naming.LABEL, *naming.PROBABILITY, *naming.PREDICTION, *naming.VERSION, *naming.LABEL_AT}
    common = [
        name
        for name in predictions
        if name in labels and name != at and naming.is_name(predictions[name]) and plain(name) not in others
    ]
    ranked = sorted(common, key=lambda name: (plain(name) not in naming.ID, not plain(name).endswith(("id", "key"))))
    if not ranked:
        raise InvalidInput(
            "alone.no_id",
            "the predictions and the labels have no column in common that could join them",
            remedy=f"Name it with --id. Predictions have: {', '.join(predictions)}. Labels have: {', '.join(labels)}.",
        )
    return (ranked[0],)


def _label(schema: Schema, taken: Collection[str], *, alone: bool) -> str:
    """By its name, or as the only column that is left in a file of labels."""
    found = first_named(schema, naming.LABEL, naming.is_any, taken)
    times = {*naming.AT, *naming.LABEL_AT}
    left = [
        name
        for name, dtype in schema.items()
        if name not in taken and not dtype.is_temporal() and plain(name) not in times
    ]
    if not found and alone and len(left) == 1:
        return left[0]
    if not found:
        raise InvalidInput(
            "alone.no_label",
            "no column could be recognised as the label",
            remedy=f"Name it with --label, or give the labels' own file with --labels. There are: {', '.join(schema)}.",
        )
    return found


def _label_at(schema: Schema, taken: Collection[str], *, alone: bool) -> str:
    """By its name; in a file of labels any other time is the label's."""
    found = first_named(schema, naming.LABEL_AT, naming.is_moment, taken)
    if found or not alone:
        return found
    typed = (name for name, dtype in schema.items() if dtype.is_temporal() and name not in taken)
    return first_named(schema, naming.AT, naming.is_moment, taken) or next(typed, "")


def _score(schema: Schema, taken: Collection[str]) -> tuple[str, ...]:
    """A probability by its name; quantiles; a column for each class; any other prediction."""
    numbers = [
        name
        for name, dtype in schema.items()
        if dtype.is_numeric() and name not in taken and plain(name) not in naming.EARLIER
    ]
    single = first_named(schema, naming.PROBABILITY, naming.is_score, taken)
    quantiles = sorted(
        (name for name in numbers if naming.level_of(name)), key=lambda name: naming.level_of(name) or 0.0
    )
    classes = [name for name in numbers if naming.class_of(name)]
    predicted = first_named(schema, naming.PREDICTION, naming.is_score, taken)
    ending = [name for name in numbers if naming.ends_as_score(name)]
    several = [
        tuple(found) for found in (quantiles if naming.quantile_levels(quantiles) else [], classes) if len(found) > 1
    ]
    found = [(single,)] if single else several or [(name,) for name in (*ending, predicted, *classes) if name]
    if not found:
        raise InvalidInput(
            "alone.no_score",
            "no column could be recognised as the score",
            remedy=f"Name it with --score (several columns with commas). There are: {', '.join(schema)}.",
        )
    return found[0]
