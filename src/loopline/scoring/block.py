"""A block: the predictions that one model made for one request, column by column, as they are spooled.

A request is logged as one frame, not as one a row: what its rows share is written once, and the rest lies in columns, as it came
and as its table keeps it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, overload

import msgspec

from loopline.scoring.record import Prediction

SHARED = (
    "project",
    "endpoint",
    "model",
    "model_version",
    "decision_version",
    "variant",
    "scored_at",
    "principal",
    "trace_id",
    "latency_ms",
)
_BY_ROW = (
    "prediction_id",
    "key",
    "at",
    "score",
    "decision",
    "degraded",
    "outputs",
    "action",
    "propensity",
    "target_time",
    "horizon_s",
    "group",
    "position",
    "label_key",
    "payload_digest",
)
_NEEDED = frozenset({"prediction_id", "key", "at", "score", "decision"})
ABSENT: Mapping[str, Any] = {"degraded": (), "propensity": 1.0}


class Block(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Predictions that share who made them, for whom and when; the fields are those of `Prediction`, lists have one element a row.

    None instead of a list says that no row has a value; for `degraded` that all are in full health, for `action` that it is the
    decision, for `propensity` that it was certain. `numbers` and `categories` hold the features as used, by name. Nobody was answered a
    `shadow`.
    """

    project: str
    endpoint: str
    model: str
    model_version: int
    decision_version: int
    variant: str
    scored_at: datetime
    prediction_id: list[str]
    key: list[str]
    at: list[datetime]
    score: list[float | None]
    decision: list[str]
    degraded: list[tuple[str, ...]] | None = None
    principal: str | None = None
    trace_id: str | None = None
    latency_ms: float | None = None
    outputs: list[tuple[float, ...]] | None = None
    action: list[str | None] | None = None
    propensity: list[float | None] | None = None
    target_time: list[datetime | None] | None = None
    horizon_s: list[float | None] | None = None
    group: list[str | None] | None = None
    position: list[int | None] | None = None
    label_key: list[str | None] | None = None
    payload_digest: list[str | None] | None = None
    numbers: dict[str, list[float | None]] = {}
    categories: dict[str, list[str | None]] = {}
    shadow: bool = False

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def of(cls, prediction: Prediction) -> "Block":
        """The block of one prediction."""
        shared = {name: getattr(prediction, name) for name in SHARED}
        own: dict[str, Any] = {
            name: None if value is None and name not in _NEEDED else [value]
            for name in _BY_ROW
            for value in [getattr(prediction, name)]
        }
        return cls(
            **shared,
            **own,
            numbers={name: [value] for name, value in prediction.numbers.items()},
            categories={name: [value] for name, value in prediction.categories.items()},
        )

    def row(self, place: int) -> Prediction:
        """The prediction at `place`."""
        shared = {name: getattr(self, name) for name in SHARED}
        own = {name: self.column(name)[place] for name in _BY_ROW}
        return Prediction(
            **shared,
            **own,
            numbers={name: values[place] for name, values in self.numbers.items()},
            categories={name: values[place] for name, values in self.categories.items()},
        )

    def column(self, name: str) -> Sequence[Any]:
        """One value a row for a field of `Prediction` other than the features."""
        values = getattr(self, name)
        if name in SHARED:
            return [values] * len(self)
        if values is not None:
            return values  # type: ignore[no-any-return]
        return [decided or None for decided in self.decision] if name == "action" else [ABSENT.get(name)] * len(self)

    def without(self, places: set[int]) -> "Block":
        """The block without the rows at `places`."""
        kept = [place for place in range(len(self)) if place not in places]

        def rest(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [values[place] for place in kept]

        own = {name: rest(getattr(self, name)) for name in _BY_ROW}
        fields = {
            "numbers": {name: rest(values) for name, values in self.numbers.items()},
            "categories": {name: rest(values) for name, values in self.categories.items()},
        }
        return msgspec.structs.replace(self, **own, **fields)


class Predictions(Sequence[Prediction]):
    """The predictions of a request in the order of its rows, though several models may have made them.

    `places` are, for each block, the places of its rows in the request; None where one block holds them all.
    """

    __slots__ = ("blocks", "places")

    def __init__(self, blocks: Sequence[Block], places: Sequence[Sequence[int]] | None = None) -> None:
        self.blocks = tuple(blocks)
        self.places = places

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        for number, block in enumerate(self.blocks):
            if self.places is None:
                if index < len(block):
                    return block.row(index)
            elif index in self.places[number]:
                return block.row(self.places[number].index(index))
        raise IndexError(index)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def column(self, name: str) -> list[Any]:
        """One value for each row of the request, for a field of `Prediction` other than the features."""
        return self.ordered([block.column(name) for block in self.blocks])

    def marked(self, code: str) -> "Predictions":
        """The same, with `code` among what is degraded about each."""
        blocks = [
            msgspec.structs.replace(block, degraded=[(*codes, code) for codes in block.column("degraded")])
            for block in self.blocks
        ]
        return Predictions(blocks, self.places)

    def ordered(self, parts: Sequence[Sequence[Any]]) -> list[Any]:
        """One value for each row of the request, from the values of each block."""
        if len(parts) == 1:
            return list(parts[0])
        if self.places is None:
            return [value for part in parts for value in part]
        found: list[Any] = [None] * len(self)
        for part, places in zip(parts, self.places, strict=True):
            for place, value in zip(places, part, strict=True):
                found[place] = value
        return found


encode = msgspec.msgpack.Encoder().encode
"""A block as the payload of a spool frame."""

_decoder = msgspec.msgpack.Decoder(Block)


def decode(payload: bytes) -> Block:
    """The block in `payload`. Raises `msgspec.DecodeError`."""
    return _decoder.decode(payload)
