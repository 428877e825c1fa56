"""Columns that are profiled by numbers read from them: the length of a free text, the size of an embedding and how near it is to the usual."""

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

LENGTH, NORM, NEARNESS = "length", "norm", "nearness"


class Derived(msgspec.Struct, frozen=True):
    """A number for each row of the column `of`: the `length` of a text in characters, the `norm` of a vector, or its `nearness`, the cosine
    of its angle to `centre`, the mean of the reference's vectors.
    """

    of: str
    how: str
    centre: tuple[float, ...] = ()


def derived_of(column: pl.Series, *, free_text: bool) -> dict[str, Derived]:
    """What is to be read from a column of the reference, by the name it is profiled under; nothing from most."""
    if column.dtype == pl.String and free_text:
        return {f"length of {column.name}": Derived(column.name, LENGTH)}
    if not is_vectors(column.dtype):
        return {}
    vectors = vectors_of(column)
    known = vectors[np.isfinite(vectors).all(axis=1)] if vectors.size else vectors
    if not known.size:
        return {}
    centre = tuple(known.mean(axis=0).tolist())
    return {
        f"norm of {column.name}": Derived(column.name, NORM),
        f"nearness of {column.name}": Derived(column.name, NEARNESS, centre),
    }


def is_vectors(dtype: pl.DataType) -> bool:
    """Whether a column holds embeddings: lists or arrays of numbers."""
    inner = getattr(dtype, "inner", None)
    return isinstance(dtype, (pl.List, pl.Array)) and inner is not None and inner.is_numeric()


def read_derived(column: pl.Series, derived: Derived) -> pl.Series:
    """The numbers of a column, null where it is null; vectors of another width than the reference's give no nearness."""
    if derived.how == LENGTH:
        return column.cast(pl.String).str.len_chars().cast(pl.Float64)
    vectors = vectors_of(column)
    norms = np.sqrt(np.square(vectors).sum(axis=1)) if vectors.size else np.full(len(column), np.nan)
    if derived.how == NORM:
        return pl.Series(column.name, norms)
    centre = np.array(derived.centre)
    if vectors.shape[1] != len(centre):
        return pl.Series(column.name, np.full(len(column), np.nan))
    size = norms * np.sqrt(np.square(centre).sum())
    return pl.Series(column.name, np.divide(vectors @ centre, size, out=np.full(len(column), np.nan), where=size > 0))


def vectors_of(column: pl.Series) -> Floats:
    """The vectors of a column, (rows, width) of the width that most have; NaN in each row that is null or has another width."""
    lists = column.cast(pl.List(pl.Float64)) if isinstance(column.dtype, pl.Array) else column
    lengths = lists.list.len()
    known = lengths.drop_nulls()
    width = known.mode().min() if len(known) else 0
    wide = int(width) if isinstance(width, int) else 0
    found = np.full((len(column), wide), np.nan)
    fits = (lengths == wide).fill_null(value=False)
    if wide and fits.any():
        flat = lists.filter(fits).explode().cast(pl.Float64).fill_null(np.nan).to_numpy()
        found[fits.to_numpy()] = flat.reshape(-1, wide)
    return found
