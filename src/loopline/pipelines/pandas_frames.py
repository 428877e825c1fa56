"""Frames and series of pandas as Parquet and back, exactly: index, names, dtypes, categories, time zones. Without pickle and pyarrow.

What Parquet holds are plain columns; how pandas had them is in the file's metadata under `loopline.pandas`.
"""

import io
import json
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from loopline.errors import Corrupt, InvalidInput

KEY = "loopline.pandas"
_PLAIN = "biuf"
_SCALARS = (str, int, float, bool, type(None))


def encode_pandas(value: pd.DataFrame | pd.Series) -> bytes:
    """Parquet of a frame or a series. Raises `InvalidInput` for a column that holds what Parquet has no type for."""
    frame = value.to_frame(name="value") if isinstance(value, pd.Series) else value
    columns, dtypes = [], []
    for place in range(frame.shape[1]):
        made, dtype = _column(frame.iloc[:, place], f"column {frame.columns[place]!r}")
        columns.append(made.alias(f"c{place}"))
        dtypes.append(dtype)
    index, levels = _index(frame.index)
    told = {
        "series": {"name": _label(value.name)} if isinstance(value, pd.Series) else None,
        "columns": _axis(frame.columns),
        "dtypes": dtypes,
        "index": levels,
        "rows": len(frame),
    }
    file = io.BytesIO()
    held = pl.DataFrame([*columns, *index]) if columns or index else pl.DataFrame()
    held.write_parquet(file, metadata={KEY: json.dumps(told)})
    return file.getvalue()


def decode_pandas(content: bytes) -> pd.DataFrame | pd.Series:
    """What `encode_pandas` was given. Raises `Corrupt` for other bytes."""
    try:
        told = json.loads(pl.read_parquet_metadata(io.BytesIO(content))[KEY])
        held = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, KeyError, ValueError) as problem:
        raise Corrupt(
            "pandas_frame.corrupt", "this is no frame of pandas as Parquet", remedy="Compute it again."
        ) from problem
    columns = {place: _restored(held[f"c{place}"], dtype) for place, dtype in enumerate(told["dtypes"])}
    index = _restored_index(held, told["index"], told["rows"])
    frame = pd.DataFrame(columns, index=pd.RangeIndex(told["rows"]))
    frame.index = index
    frame.columns = _restored_axis(told["columns"])
    if told["series"] is not None:
        series = frame.iloc[:, 0]
        series.name = _unplain(told["series"]["name"])
        return series
    return frame


def _column(series: Any, where: str) -> tuple[pl.Series, dict[str, Any]]:
    """The plain column, and how pandas had it."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.asarray(series.cat.codes if isinstance(series, pd.Series) else series.codes)
        return pl.Series(codes.astype(np.int32)), {
            "kind": "category",
            "ordered": bool(dtype.ordered),
            "categories": _axis(pd.Index(dtype.categories)),
        }
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = np.asarray(
            series.dt.tz_convert("UTC").dt.tz_localize(None)
            if isinstance(series, pd.Series)
            else series.tz_convert("UTC").tz_localize(None)
        )
        return _ticks(utc), {"kind": "zoned", "zone": str(dtype.tz), "unit": dtype.unit}
    if isinstance(dtype, np.dtype):
        return _of_numpy(np.asarray(series), where)
    if isinstance(dtype, pd.StringDtype):
        values = [None if pd.isna(one) else str(one) for one in series]
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        return pl.Series(values, dtype=pl.String), {"kind": "string", "missing": missing, "storage": dtype.storage}
    if pd.api.types.is_extension_array_dtype(dtype) and str(dtype).lower() in {
        "boolean",
        *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
        "float32",
        "float64",
    }:
        return pl.Series(
            [None if pd.isna(one) else one.item() if hasattr(one, "item") else one for one in series], strict=False
        ), {"kind": "nullable", "dtype": str(dtype)}
    raise _refused(where, str(dtype))


def _of_numpy(values: Any, where: str) -> tuple[pl.Series, dict[str, Any]]:
    if values.dtype.kind in _PLAIN:
        wide = values.astype(np.float32) if values.dtype == np.float16 else values
        return pl.Series(np.ascontiguousarray(wide)), {"kind": "numpy", "dtype": str(values.dtype)}
    if values.dtype.kind in "mM":
        return _ticks(values), {"kind": "numpy", "dtype": str(values.dtype)}
    if values.dtype == object:
        kept = [json.dumps(_plain(one, where)) for one in values]
        return pl.Series(kept, dtype=pl.String), {"kind": "object"}
    raise _refused(where, str(values.dtype))


def _ticks(values: Any) -> pl.Series:
    return pl.Series(np.ascontiguousarray(values).view(np.int64))


def _plain(value: Any, where: str) -> Any:
    """A value of an object column as JSON: missing values keep which kind of missing they are."""
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
        value = value.item()
    if value is pd.NA or value is pd.NaT:
        return {"na" if value is pd.NA else "nat": 1}
    if isinstance(value, (pd.Timestamp, pd.Timedelta)):
        return {"time" if isinstance(value, pd.Timestamp) else "delta": value.isoformat()}
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list):
        return [_plain(one, where) for one in value]
    if isinstance(value, date) and not isinstance(value, datetime):
        return {"date": value.isoformat()}
    raise _refused(where, type(value).__name__)


def _unplain(value: Any) -> Any:
    if isinstance(value, list):
        return [_unplain(one) for one in value]
    if isinstance(value, dict):
        [(kind, held)] = value.items()
        return _MARKED[kind](held)
    return value


_MARKED: dict[str, Callable[[Any], Any]] = {
    "na": lambda _: pd.NA,
    "nat": lambda _: pd.NaT,
    "float": float,
    "date": date.fromisoformat,
    "time": pd.Timestamp,
    "delta": pd.Timedelta,
    "tuple": lambda held: tuple(_unplain(one) for one in held),
}


def _refused(where: str, what: str) -> InvalidInput:
    return InvalidInput(
        "pandas_frame.unsupported",
        f"{where} is of {what}, which cannot be kept as Parquet",
        remedy="Convert it first (astype(str), or columns of plain values), or keep what uses it in the step that makes it.",
    )


def _restored(column: pl.Series, told: dict[str, Any]) -> Any:
    kind = told["kind"]
    if kind == "category":
        categories = _restored_axis(told["categories"])
        return pd.Series(pd.Categorical.from_codes(column.to_numpy(), categories=categories, ordered=told["ordered"]))
    if kind == "zoned":
        naive = pd.Series(column.to_numpy().view(f"datetime64[{told['unit']}]"))
        return naive.dt.tz_localize("UTC").dt.tz_convert(told["zone"])
    if kind == "string":
        dtype = pd.StringDtype(told["storage"], na_value=np.nan if told["missing"] == "nan" else pd.NA)
        return pd.Series(column.to_list(), dtype=dtype)
    if kind == "nullable":
        return pd.Series([pd.NA if one is None else one for one in column.to_list()], dtype=told["dtype"])
    if kind == "object":
        return pd.Series([_unplain(json.loads(one)) for one in column.to_list()], dtype=object)
    values = column.to_numpy()
    dtype = np.dtype(told["dtype"])
    return pd.Series(values.copy().view(dtype) if dtype.kind in "mM" else values.astype(dtype))


def _index(index: pd.Index) -> tuple[list[pl.Series], dict[str, Any]]:
    if isinstance(index, pd.RangeIndex):
        return [], {"kind": "range", "start": index.start, "step": index.step, "name": _label(index.name)}
    levels = [index.get_level_values(place) for place in range(index.nlevels)]
    made = [_column(level.to_series().reset_index(drop=True), "the index") for level in levels]
    columns = [column.alias(f"i{place}") for place, (column, _) in enumerate(made)]
    kind = "multi" if isinstance(index, pd.MultiIndex) else "plain"
    frequency = getattr(index, "freqstr", None) if kind == "plain" else None
    return columns, {
        "kind": kind,
        "dtypes": [dtype for _, dtype in made],
        "names": [_label(name) for name in index.names],
        "freq": frequency,
    }


def _restored_index(held: pl.DataFrame, told: dict[str, Any], rows: int) -> pd.Index:
    if told["kind"] == "range":
        return pd.RangeIndex(
            told["start"], told["start"] + rows * told["step"], told["step"], name=_unplain(told["name"])
        )
    levels = [_restored(held[f"i{place}"], dtype) for place, dtype in enumerate(told["dtypes"])]
    names = [_unplain(name) for name in told["names"]]
    if told["kind"] == "multi":
        return pd.MultiIndex.from_arrays(levels, names=names)
    index = pd.Index(levels[0], name=names[0])
    if told["freq"] is not None and isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        index = type(index)(index, freq=told["freq"], name=names[0])
    return index


def _axis(index: pd.Index) -> dict[str, Any]:
    """Labels of columns, or categories, as JSON."""
    if isinstance(index, pd.IntervalIndex):
        edges = {
            "left": [_label(one) for one in index.left],
            "right": [_label(one) for one in index.right],
            "closed": index.closed,
        }
        return {"intervals": edges, "dtype": str(index.dtype.subtype)}
    dtype = "object" if isinstance(index, pd.MultiIndex) else str(index.dtype)
    multi = isinstance(index, pd.MultiIndex)
    return {
        "labels": [_label(one) for one in index],
        "dtype": dtype,
        "multi": multi,
        "names": [_label(one) for one in index.names],
    }


def _restored_axis(told: dict[str, Any]) -> pd.Index:
    if "intervals" in told:
        edges = told["intervals"]
        left, right = (
            pd.Index([_unplain(one) for one in edges[side]], dtype=told["dtype"]) for side in ("left", "right")
        )
        return pd.IntervalIndex.from_arrays(left, right, closed=edges["closed"])
    labels, names = [_unplain(one) for one in told["labels"]], [_unplain(one) for one in told["names"]]
    if told["multi"]:
        return pd.MultiIndex.from_tuples(labels, names=names)
    return pd.Index(labels, dtype=told["dtype"], name=names[0])


def _label(value: Any) -> Any:
    """A label as JSON: plain ones as they are, tuples and times marked."""
    return {"tuple": [_label(one) for one in value]} if isinstance(value, tuple) else _plain(value, "a label")
