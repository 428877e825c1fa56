"""Where a feature lies in the prediction table when it was a number in one version of the model and a name in another.

`feature_x` keeps the kind that came first; the other has a column of its own, `feature_x__category` or `feature_x__number`. So
what was logged stays as it was, and a new kind stops nothing from being shipped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from loopline.scoring.record import FEATURE_PREFIX, FEATURE_TYPES

_KINDS: Mapping[Any, str] = {dtype: kind for kind, dtype in FEATURE_TYPES.items()}


def feature_column(name: str, kind: str, held: Mapping[str, Any]) -> str:
    """The column of the feature `name` of that kind in a table with the columns `held`."""
    plain = FEATURE_PREFIX + name
    return plain if held.get(plain, FEATURE_TYPES[kind]) == FEATURE_TYPES[kind] else f"{plain}__{kind}"


def beside(name: str) -> list[str]:
    """The columns that a feature may have besides its plain one."""
    return [f"{FEATURE_PREFIX}{name}__{kind}" for kind in FEATURE_TYPES]


def filed(predictions: pl.DataFrame, held: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of the prediction table with each feature in its column, for a table with the columns `held`."""
    named = [name for name in predictions.columns if name.startswith(FEATURE_PREFIX)]
    places = {
        name: feature_column(name.removeprefix(FEATURE_PREFIX), _KINDS[predictions.schema[name]], held)
        for name in named
        if predictions.schema[name] in _KINDS
    }
    return predictions.rename({name: place for name, place in places.items() if name != place})


def plain_names(columns: Sequence[str]) -> dict[str, str]:
    """The feature's name for each column that holds one; a feature that is called like another of the columns is left out."""
    names = {name: name.removeprefix(FEATURE_PREFIX) for name in columns if name.startswith(FEATURE_PREFIX)}
    return {column: name for column, name in names.items() if name not in columns}


def by_name(predictions: pl.DataFrame) -> pl.DataFrame:
    """The logged features of rows of the prediction table, by name, and nothing else of them."""
    named = pl.col(f"^{FEATURE_PREFIX}.*$")
    return predictions.select(named.name.map(lambda column: column.removeprefix(FEATURE_PREFIX)))


def as_kinds(features: pl.DataFrame, kinds: Mapping[str, str]) -> pl.DataFrame:
    """Logged features by name, as the kinds (name to "number" or "category") that a reader takes them for.

    What another version logged as the other kind is read as this one: a number as its text, a text as a number where it is one.
    """
    found = features
    for name, kind in kinds.items():
        columns = [column for column in (f"{name}__{kind}", name) if column in found.columns]
        if columns and (len(columns) > 1 or found.schema[name] != FEATURE_TYPES[kind]):
            parts = [pl.col(column).cast(FEATURE_TYPES[kind], strict=False) for column in columns]
            found = found.with_columns(pl.coalesce(*parts).alias(name))
    return found


def one_of_each(row: Mapping[str, Any]) -> dict[str, Any]:
    """The features of one logged row by name, each from the column that has its value."""
    plain = {name.removeprefix(FEATURE_PREFIX): value for name, value in row.items() if name.startswith(FEATURE_PREFIX)}
    endings = tuple(f"__{kind}" for kind in FEATURE_TYPES)
    found = {name: value for name, value in plain.items() if not name.endswith(endings)}
    for name in [name for name, value in found.items() if value is None]:
        found[name] = next((plain[name + end] for end in endings if plain.get(name + end) is not None), None)
    return found
