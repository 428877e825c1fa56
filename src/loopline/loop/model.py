"""A model as a loop declares it: which rows it answers for, when, from what, and what would have been right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from loopline.evaluation.bias import Bias
from loopline.evaluation.kind import BINARY, Kind, Output
from loopline.features.definitions import LatestView, View, WindowView
from loopline.incidents.people import check_name
from loopline.labels.label import Label, Values
from loopline.loop.mistake import blaming_caller, mistake
from loopline.loop.source import Source
from loopline.models.rule import Rule
from loopline.training.search_spec import SearchSpec
from loopline.training.training_set import Recipe

FitFunction = Callable[..., Any]

VALUES: Mapping[Kind, Values] = {
    "binary": "binary",
    "multiclass": "class",
    "regression": "number",
    "quantile": "number",
    "ranking": "number",
    "multioutput": "number",
}


class External(msgspec.Struct, frozen=True):
    """Where the rows of a source say what a model that something else serves has predicted: columns of its output, of the prediction's id, of the
    version that answered and of what was decided. An empty name is a column that there is not.
    """

    score: tuple[str, ...]
    id: str = ""
    version: str = ""
    decision: str = ""


@dataclass(frozen=True)
class Category:
    """A column whose values are names, not amounts."""

    column: str


@dataclass(frozen=True)
class Model:
    """A model: which rows it answers for, when, from what, and what would have been right."""

    name: str
    on: Source
    at: str
    given: tuple[str, ...]
    categories: tuple[str, ...]
    views: tuple[View, ...]
    label: Label
    fit: FitFunction
    params: Mapping[str, Any]
    fallback: float | tuple[float, ...]
    holdout: str
    where: tuple[str, int]
    owner: str = ""
    explain: bool | None = None
    search: SearchSpec | None = None
    output: Output = BINARY
    group: str | None = None
    target: str | None = None
    bias: Bias | None = None
    rule: Rule | None = None
    external: External | None = None

    @property
    def recipe(self) -> Recipe:
        """What its training sets are made of."""
        return Recipe(
            self.on.table,
            self.at,
            self.given,
            self.categories,
            self.views,
            self.label,
            self.output,
            self.group,
            self.target,
            self.bias.by if self.bias else (),
        )

    @property
    def given_kinds(self) -> dict[str, str]:
        """The kind of each column that is a feature as it is given: "number" or "category"."""
        return dict.fromkeys(self.given, "number") | dict.fromkeys(self.categories, "category")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """All features in the order of the model's input: given columns first, then those of the views."""
        return self.recipe.feature_names


def category(column: str) -> Category:
    """A given column whose values are names."""
    return Category(column)


def owned_by(name: str) -> str:
    """The name, checked; empty where nobody is named. Raises `DeclarationError` at the caller's line."""
    with blaming_caller():
        return check_name(name) if name else ""


def sort_features(
    features: Sequence[View | Category | str],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[View, ...]]:
    """Given columns, which of them are names, and views. Raises `DeclarationError`."""
    given: list[str] = []
    categories: list[str] = []
    views: list[View] = []
    for feature in features:
        if isinstance(feature, Category):
            given.append(feature.column)
            categories.append(feature.column)
        elif isinstance(feature, str):
            given.append(feature)
        elif isinstance(feature, (WindowView, LatestView)):
            views.append(feature)
        else:
            raise mistake(
                "model.not_a_feature",
                f"{feature!r} is not a feature",
                "Use a column's name, category(...), or a feature view.",
            )
    return tuple(given), tuple(categories), tuple(views)


def check_unique(model: Model) -> None:
    """Raise `DeclarationError` unless the model has features, each once."""
    names = model.feature_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise mistake(
            "model.feature_twice", f"{model.name!r} has features twice: {', '.join(twice)}", "List each once."
        )
    if not names:
        raise mistake("model.no_features", f"{model.name!r} has no features", "Give at least one.")


def check_groups(model: Model) -> None:
    """A group named like a feature must be that feature."""
    taken = (
        [name for name, one in model.bias.by if name in model.feature_names and not one.meta.eq(pl.col(name))]
        if model.bias
        else []
    )
    if taken:
        raise mistake(
            "model.group_taken", f"{model.name!r} has a feature {taken[0]!r} already", "Give the group another name."
        )
