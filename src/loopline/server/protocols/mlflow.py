"""MLflow's scoring protocol: the forms in which `/invocations` takes rows, and how it answers (mlflow.org, version 2 and later).

`dataframe_split`, `dataframe_records`, `instances` and `inputs` in JSON, and CSV with a header; all become columns.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NoReturn

import msgspec

from loopline.errors import InvalidInput
from loopline.scoring.columns import Columns
from loopline.server.protocols.lenient_json import decode_json
from loopline.server.protocols.oip.columns import Layout

JSON, CSV = "application/json", "text/csv"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
EXPLAIN, REQUEST_ID, OUTPUT = "explain", "request_id", "output"

_Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Invocation:
    """The rows that a request asks about, by column, and its `params`."""

    columns: Columns
    params: Mapping[str, Any] = field(default_factory=dict)


class DataFrameSplit(msgspec.Struct, frozen=True):
    """A data frame as pandas' `to_dict(orient="split")` gives it; its index is not looked at."""

    data: list[list[Any]]
    columns: list[str] | None = None


class InvocationBody(msgspec.Struct, frozen=True):
    """The JSON of an invocation; exactly one of the forms is there."""

    dataframe_split: DataFrameSplit | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: dict[str, Any] | list[Any] | None = None
    params: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(InvocationBody)

# What MLflow's own server and clients call each kind of error.
_ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TEMPORARILY_UNAVAILABLE",
}
_OURS = 500


def error_code(status: int) -> str:
    """MLflow's name for the kind of error that an HTTP status tells of."""
    return _ERROR_CODES.get(status, "INTERNAL_ERROR" if status >= _OURS else "BAD_REQUEST")


def decode(body: bytes, content_type: str, layout: Layout) -> Invocation:
    """The rows in `body`, of the media type `content_type` (JSON where it is empty).

    Rows without names hold the given fields in the signature's order. Raises `msgspec.DecodeError` for what is not such JSON, and
    `InvalidInput`: http.content_type, mlflow.one_form, mlflow.ragged, mlflow.unnamed, mlflow.bad_csv.
    """
    kind = content_type.partition(";")[0].strip().lower() or JSON
    if kind == CSV:
        return Invocation(_counted(_from_csv(body, layout)))
    if kind != JSON:
        raise InvalidInput(
            "http.content_type", f"bodies of type {kind[:50]!r} are not taken here", remedy=f"Send {JSON} or {CSV}."
        )
    said = decode_json(body, _decoder)
    forms = [name for name in FORMS if getattr(said, name) is not None]
    if len(forms) != 1:
        raise InvalidInput(
            "mlflow.one_form",
            f"the body has {', '.join(forms) or 'none'} of the forms of rows",
            remedy=f"Send a JSON object with exactly one of {', '.join(FORMS)}, and params if you like.",
        )
    return Invocation(_counted(_READERS[forms[0]](getattr(said, forms[0]), layout)), said.params or {})


def _counted(columns: _Columns) -> Columns:
    return Columns(columns, max(map(len, columns.values()), default=0))


def _from_split(split: DataFrameSplit, layout: Layout) -> _Columns:
    if split.columns is None:
        return _unnamed(split.data, layout)
    return _turned(split.data, split.columns)


def _from_list(rows: list[Any], layout: Layout) -> _Columns:
    if rows and all(type(row) is dict for row in rows):
        return _from_records(rows, layout)
    return _unnamed(rows, layout)


def _from_inputs(inputs: dict[str, Any] | list[Any], layout: Layout) -> _Columns:
    if isinstance(inputs, list):
        return _from_list(inputs, layout)
    columns = {name: _flat(values) for name, values in inputs.items()}
    if len({len(values) for values in columns.values()}) > 1:
        _refuse_ragged("the columns differ in length")
    return columns


def _from_records(rows: list[dict[str, Any]], _: Layout) -> _Columns:
    if not rows:
        return {}
    names = rows[0].keys()
    if any(row.keys() != names for row in rows):
        _refuse_ragged("the records differ in their names")
    return {name: [row[name] for row in rows] for name in names}


def _from_csv(body: bytes, layout: Layout) -> _Columns:
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(
            "mlflow.bad_csv", f"the body is no CSV: {str(error)[:200]}", remedy="Send UTF-8 with a header line."
        ) from error
    rows = [row for row in rows if row]
    if not rows:
        raise InvalidInput("mlflow.bad_csv", "the CSV has no header", remedy="Name the columns in the first line.")
    numbers = {field.name for field in layout.given if field.kind == "number"}
    columns = _turned(rows[1:], rows[0])
    return {name: [_cell(text, name, name in numbers) for text in values] for name, values in columns.items()}


def _cell(text: str, name: str, is_number: bool) -> str | float | None:  # noqa: FBT001 - a private call with one caller
    if not text or not is_number:
        return text or None
    try:
        return float(text) if "_" not in text else _refuse_number(text, name)
    except ValueError:
        _refuse_number(text, name)


def _flat(values: Any) -> list[Any]:
    """A column: as it is, or each element in a list of its own, or one value for one row."""
    if not isinstance(values, list):
        return [values]
    if values and all(type(value) is list and len(value) == 1 for value in values):
        return list(chain.from_iterable(values))
    return values


def _unnamed(rows: Sequence[Any], layout: Layout) -> _Columns:
    names = [field.name for field in layout.given]
    lists = [row if isinstance(row, list) else [row] for row in rows]
    if any(len(row) != len(names) for row in lists):
        raise InvalidInput(
            "mlflow.unnamed",
            f"rows without names must have the model's {len(names)} given fields",
            remedy=f"Send {', '.join(names)} in this order, or name the columns.",
        )
    return _turned(lists, names)


def _turned(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> _Columns:
    if len(set(names)) < len(names):
        _refuse_ragged("two columns have one name")
    if any(len(row) != len(names) for row in rows):
        _refuse_ragged(f"a row has not as many values as there are columns, {len(names)}")
    if not rows:
        return {name: [] for name in names}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _refuse_ragged(what: str) -> NoReturn:
    raise InvalidInput("mlflow.ragged", what, remedy="Send every column for every row, null where there is no value.")


def _refuse_number(text: str, name: str) -> NoReturn:
    raise InvalidInput(
        "mlflow.bad_csv", f"{text[:50]!r} in column {name[:100]!r} is no number", remedy="Leave it empty where missing."
    )


_READERS: Mapping[str, Callable[[Any, Layout], _Columns]] = {
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
    "instances": _from_list,
    "inputs": _from_inputs,
}
