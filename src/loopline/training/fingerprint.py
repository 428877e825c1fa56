"""The digest of a frame, column by column: which of them changed shows at once."""

import hashlib
from collections.abc import Mapping

import polars as pl

from loopline.values import canonical_json, digest


def column_digests(frame: pl.DataFrame) -> dict[str, str]:
    """A digest of the name, dtype and values of each column, in order of rows: the same for the same content, on every machine."""
    return {column.name: _digest(column) for column in frame.get_columns()}


def frame_digest(columns: Mapping[str, str]) -> str:
    """One digest of all columns, whatever their order."""
    return digest(canonical_json(dict(columns)))


def _digest(column: pl.Series) -> str:
    whole = hashlib.sha256(f"{column.name}\x1f{column.dtype}\x1f{len(column)}\x1f".encode())
    whole.update(column.is_null().to_numpy().tobytes())
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String).fill_null("")
        whole.update(text.str.len_bytes().to_numpy().astype("<u4").tobytes())
        whole.update("".join(text).encode())
    elif column.dtype.is_nested():
        whole.update(canonical_json(column.to_list()))
    else:
        whole.update(column.to_physical().fill_null(0).to_numpy().tobytes())
    return "sha256:" + whole.hexdigest()
