"""Rows in JSON, decoded and checked in one pass by a type that is made for the contract.

What the type does not take (a wrong row, or one that is right in an unusual way) is decoded again without it and checked cell by
cell: that is slow, and can say which row and column is wrong.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from loopline.scoring.columns import Columns
from loopline.scoring.contract import Contract

_TYPES: dict[str, Any] = {"number": float | None, "category": str | None}


class PredictRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /predict/{endpoint}`. With `request_id` a request that is sent again gets the same prediction ids;
    with `explain` each prediction comes with what each field added to it.
    """

    rows: list[dict[str, Any]]
    request_id: str | None = None
    explain: bool = False


Rows = Columns | Sequence[dict[str, Any]]

_decoder = msgspec.json.Decoder(PredictRequest)


class Reader:
    """Reads the requests of one contract."""

    def __init__(self, contract: Contract) -> None:
        kinds = {field.name: _TYPES.get(field.kind, Any) for field in contract.given}
        kinds |= {contract.key: str | None, contract.at: str | int | None}
        kinds |= dict.fromkeys(contract.entities, str | int | None)
        self._names = contract.columns
        places = [f"c{place}" for place in range(len(self._names))]
        fields: list[Any] = [
            (place, kinds.get(name, Any), None) if name in contract.optional else (place, kinds.get(name, Any))
            for place, name in zip(places, self._names, strict=True)
        ]
        row = msgspec.defstruct(
            "Row",
            fields,
            rename=dict(zip(places, self._names, strict=True)),
            forbid_unknown_fields=not contract.open,
            frozen=True,
            gc=False,
            kw_only=True,
        )
        request = msgspec.defstruct(
            "Request",
            [("rows", list[row]), ("request_id", str | None, None), ("explain", bool, False)],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(request)

    def read(self, body: bytes) -> tuple[Rows, PredictRequest]:
        """The rows in `body`, and the rest of the request (with no rows in it). Raises `msgspec.DecodeError`."""
        try:
            found = cast("Any", self._decoder.decode(body))
        except msgspec.ValidationError:
            request = _decoder.decode(body)
            return request.rows, request
        columns = map(list, zip(*map(msgspec.structs.astuple, found.rows), strict=True))
        held = dict(zip(self._names, columns, strict=bool(found.rows)))
        return (
            Columns(held, len(found.rows), typed=True) if held else [],
            PredictRequest([], found.request_id, found.explain),
        )
