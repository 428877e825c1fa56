"""What a feature view is: pure data that means the same offline and online, and goes to JSON and back.

A view is computed from the history of one table, for one entity column `by`. Both kinds see exactly the rows that were
known at the time of the question: see `point_in_time` for the semantics.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, get_args

import msgspec

from loopline.errors import InvalidInput
from loopline.values import canonical_json, digest, duration

Op = Literal["count", "sum", "mean", "std", "min", "max"]


class Aggregate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number over the rows of an entity whose event time lies in (t - over, t].

    Null, NaN and infinite values of `column` are not counted. Of no values, `count` and `sum` are 0; `mean`, `min` and
    `max` are null. `std` is the sample's (divided by n - 1, as in Polars, pandas and SQL) and null for fewer than two
    values. `count` takes a column of any type and counts the values; the others need numbers or booleans.
    Raises `InvalidInput` for an unknown `op` or an `over` that is not a duration above zero.
    """

    op: Op
    column: str
    over: str

    def __post_init__(self) -> None:
        if self.op not in get_args(Op):
            raise InvalidInput(
                "features.unknown_op", f"no aggregate {self.op!r}", remedy=f"Use one of {', '.join(get_args(Op))}."
            )
        _positive(self.over)

    @property
    def length(self) -> timedelta:
        """The window's length."""
        return duration(self.over)


class WindowView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="window"):
    """Aggregates over sliding windows of a table's rows, per entity in column `by`.

    `features` maps the name of each feature to its aggregate, in the order of the names. Raises `InvalidInput` where it is empty or a name is.
    """

    table: str
    by: str
    features: dict[str, Aggregate]

    def __post_init__(self) -> None:
        _named(self.features)
        _sort(self)


class LatestView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="latest"):
    """The latest value of payload columns, per entity in column `by`.

    `features` maps the name of each feature to its column, in the order of the names. Among the rows with event time in (t - max_age, t], or at any
    time up to t without `max_age`, and a value in that column (not null, NaN or infinite), the one with the greatest
    event time counts; on a tie the one known last, then the one with the greater key. Columns are looked up each for
    itself, so that a gap in one does not hide another. Numbers and booleans come back as floats, text as text; other
    types are refused. Raises `InvalidInput` as `WindowView` does.
    """

    table: str
    by: str
    features: dict[str, str]
    max_age: str | None = None

    def __post_init__(self) -> None:
        _named(self.features)
        _sort(self)
        if self.max_age is not None:
            _positive(self.max_age)


View = WindowView | LatestView


def feature_names(view: View) -> list[str]:
    """The names of the view's features, in its order."""
    return list(view.features)


def payload_columns(view: View) -> list[str]:
    """The columns of the table's rows that the view's values come from, each once, without `by`."""
    if isinstance(view, LatestView):
        return list(dict.fromkeys(view.features.values()))
    return list(dict.fromkeys(aggregate.column for aggregate in view.features.values()))


def reach(view: View) -> timedelta | None:
    """How long after its event time a row can still matter; None for ever."""
    if isinstance(view, LatestView):
        return None if view.max_age is None else duration(view.max_age)
    return max(aggregate.length for aggregate in view.features.values())


def views_digest(views: Sequence[View]) -> str:
    """The `sha256:` digest of the definitions: equal for equal views in the same order."""
    return digest(canonical_json(list(views)))


def check_views(views: Sequence[View]) -> None:
    """Raise `InvalidInput` where two features of the views have one name."""
    names = [name for view in views for name in feature_names(view)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(
            "features.name_taken",
            f"more than one feature is named {', '.join(twice)}",
            remedy="Give each feature of the views its own name.",
        )


def _named(features: dict[str, Aggregate] | dict[str, str]) -> None:
    if not features or not all(features):
        raise InvalidInput(
            "features.unnamed", "a view has no features, or one without a name", remedy="Name at least one feature."
        )


def _sort(view: "WindowView | LatestView") -> None:
    """Features in the order of their names: what is packed by place must not depend on how JSON orders an object."""
    msgspec.structs.force_setattr(view, "features", dict(sorted(view.features.items())))


def _positive(length: str) -> None:
    if duration(length) <= timedelta(0):
        raise InvalidInput("features.empty_window", f"{length!r} holds no time", remedy='Write e.g. "3h".')
