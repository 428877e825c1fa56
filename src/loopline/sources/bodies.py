"""Rows as they come in the body of a request, besides JSON: lines of it, or an Arrow stream."""

import io
from typing import Any

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.values import canonical_json

LINES = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
MOST_ROWS = 20_000

_Rows = list[dict[str, Any]]


def rows_in(body: bytes, content_type: str) -> _Rows:
    """The rows in `body`, which is of the media type `content_type`, as JSON has them: times are texts with their zone.

    Raises `InvalidInput`: "push.media_type" for another type, "push.unreadable" for what is not of it, naming the line, and "push.row_count" for none or
    more than `MOST_ROWS`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == LINES:
        rows = _lines(body)
    elif kind == ARROW:
        rows = _arrow(body)
    else:
        raise InvalidInput(
            "push.media_type",
            f"rows cannot be read from {kind[:100]!r}",
            remedy=f"Send {LINES} or {ARROW}; JSON goes to .../rows.",
        )
    if not 0 < len(rows) <= MOST_ROWS:
        raise InvalidInput(
            "push.row_count",
            f"there are {len(rows)} rows",
            remedy=f"Send 1 to {MOST_ROWS} at a time, each time under a key of its own.",
        )
    return rows


def _lines(body: bytes) -> _Rows:
    rows: _Rows = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(msgspec.json.decode(line, type=dict[str, Any]))
            except (msgspec.DecodeError, RecursionError) as error:
                raise _unreadable(f"line {number} is no object of JSON: {error}") from error
    return rows


def _arrow(body: bytes) -> _Rows:
    try:
        rows = pl.read_ipc_stream(io.BytesIO(body)).to_dicts()
        plain: _Rows = msgspec.json.decode(canonical_json(rows), type=_Rows)
    except Exception as error:  # the reader raises of its own, whatever is wrong with the bytes
        raise _unreadable("this is no Arrow stream of plain values") from error
    return plain


def _unreadable(what: str) -> InvalidInput:
    return InvalidInput("push.unreadable", what, remedy="Nothing was kept. Mend it and send all of it again.")
