"""Slices: the parts of the rows that share a value, to look at each for itself."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

Mask = npt.NDArray[np.bool_]


def slices_of(column: pl.Series, *, at_most: int = 20, min_rows: int = 100, bins: int = 4) -> dict[str, Mask]:
    """Masks of shape (rows,) by name, such as `carrier=AA` or `distance in [200, 500)`; the largest first, nulls as `=null`.

    Texts, booleans, categories and integers of at most `at_most` values make a slice of each value, other numbers one of each of
    `bins` quantiles. At most `at_most` slices; those of fewer than `min_rows` rows are left out.
    """
    numeric = column.dtype.is_numeric() and (column.dtype.is_float() or column.n_unique() > at_most)
    masks = _by_quantile(column, bins) if numeric else _by_value(column, at_most)
    missing = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
    masks[f"{column.name}=null"] = missing.to_numpy()
    kept = {name: mask for name, mask in masks.items() if mask.sum() >= min_rows}
    return dict(sorted(kept.items(), key=lambda item: -int(item[1].sum()))[:at_most])


def _by_value(column: pl.Series, at_most: int) -> dict[str, Mask]:
    counts = (
        column.drop_nulls().value_counts(sort=True, name="_rows").sort("_rows", column.name, descending=[True, False])
    )
    values = counts[column.name].head(at_most).to_list()
    return {f"{column.name}={value}": (column == value).fill_null(value=False).to_numpy() for value in values}


def _by_quantile(column: pl.Series, bins: int) -> dict[str, Mask]:
    x = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = x[~np.isnan(x)]
    if not len(known):
        return {}
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    if len(edges) == 1:
        return {f"{column.name}={edges[0]:g}": x == edges[0]}
    pairs = list(pairwise(edges.tolist()))
    masks = {f"{column.name} in [{low:g}, {high:g})": (x >= low) & (x < high) for low, high in pairs[:-1]}
    low, high = pairs[-1]
    return masks | {f"{column.name} in [{low:g}, {high:g}]": (x >= low) & (x <= high)}
