"""A block: the predictions that one model made at one moment, column by column, as they are spooled.

What was answered together is logged as one frame, not as one a row: what its rows share is written once, and the rest lies in
columns, numbers as the machine has them, so that bringing a block to its table costs less than making it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, overload

import msgspec
import numpy as np

from loopline.scoring.record import Prediction
from loopline.values import from_micros, micros

_OF_MAKER = ("project", "endpoint", "model", "model_version", "decision_version", "variant")
_OF_ORIGIN = ("principal", "trace_id", "latency_ms")
SHARED = (*_OF_MAKER, "scored_at", *_OF_ORIGIN)
LISTED = (
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
_BY_ROW = ("prediction_id", "key", "at", "score", "decision", *LISTED)
ABSENT: Mapping[str, Any] = {"degraded": (), "propensity": 1.0}

FLOAT, INT = np.dtype("<f8"), np.dtype("<i8")

Texts = list[str] | str
"""A text a row: as a list, or as one text with `DIVIDER` between them, which none of them holds."""

DIVIDER = "\x1f"

_encoder = msgspec.msgpack.Encoder()


class Maker(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who made predictions; the fields are those of `Prediction`. `numbers` and `categories` name the features they were made of.
    Nobody was answered a `shadow`.
    """

    project: str
    endpoint: str
    model: str
    model_version: int
    decision_version: int
    variant: str
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    shadow: bool = False

    def encoded(self) -> bytes:
        """As a block holds it; whoever makes many blocks keeps it."""
        return _encoder.encode(self)


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """For whom the next `rows` predictions were made; the other fields are those of `Prediction`."""

    rows: int
    principal: str | None = None
    trace_id: str | None = None
    latency_ms: float | None = None


class Block(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Predictions that share who made them and when; the fields are those of `Prediction`, lists have one element a row.

    `made_by` is an encoded `Maker`. `at` holds microseconds since 1970 UTC as 64-bit integers, `score` and `cells` 64-bit floats with NaN
    for none, all little-endian; `cells` are the numbers among the features as used, row by row, `texts` the categories, by name.
    None instead of a list says that no row has a value; for `degraded` that all are in full health, for `action` that it is the
    decision, for `propensity` that it was certain.
    """

    made_by: bytes
    scored_at: datetime
    origins: list[Origin]
    prediction_id: Texts
    key: Texts
    at: bytes
    score: bytes
    decision: Texts
    cells: bytes = b""
    texts: Sequence[list[str | None] | str] = []
    degraded: list[tuple[str, ...]] | None = None
    outputs: list[tuple[float, ...]] | None = None
    action: list[str | None] | None = None
    propensity: list[float | None] | None = None
    target_time: list[datetime | None] | None = None
    horizon_s: list[float | None] | None = None
    group: list[str | None] | None = None
    position: list[int | None] | None = None
    label_key: list[str | None] | None = None
    payload_digest: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.at) // INT.itemsize

    @property
    def maker(self) -> Maker:
        """Who made them."""
        return maker_of(self.made_by)

    @property
    def numbers(self) -> dict[str, list[float | None]]:
        """The numbers among the features as used, by name."""
        names = self.maker.numbers
        cells = np.frombuffer(self.cells, FLOAT).reshape(len(self), len(names)).T.tolist() if names else []
        return {name: _no_nan(values) for name, values in zip(names, cells, strict=True)}

    @property
    def categories(self) -> dict[str, list[str | None]]:
        """The categories among the features as used, by name."""
        return dict(zip(self.maker.categories, map(divided, self.texts), strict=True))

    @classmethod
    def of(cls, prediction: Prediction) -> "Block":
        """The block of one prediction."""
        maker = Maker(
            **{name: getattr(prediction, name) for name in _OF_MAKER},
            numbers=tuple(prediction.numbers),
            categories=tuple(prediction.categories),
        )
        own = {name: [value] for name in LISTED if (value := getattr(prediction, name)) is not None}
        return cls(
            made_by=maker.encoded(),
            scored_at=prediction.scored_at,
            origins=[Origin(1, prediction.principal, prediction.trace_id, prediction.latency_ms)],
            prediction_id=[prediction.prediction_id],
            key=[prediction.key],
            at=packed_times([prediction.at]),
            score=packed_numbers([prediction.score]),
            decision=[prediction.decision],
            cells=packed_numbers(list(prediction.numbers.values())),
            texts=[[value] for value in prediction.categories.values()],
            **own,
        )

    def row(self, place: int) -> Prediction:
        """The prediction at `place`."""
        own = {name: self.column(name)[place] for name in (*SHARED, *_BY_ROW)}
        return Prediction(
            **own,
            numbers={name: values[place] for name, values in self.numbers.items()},
            categories={name: values[place] for name, values in self.categories.items()},
        )

    def column(self, name: str) -> Sequence[Any]:
        """One value a row for a field of `Prediction` other than the features."""
        if name in SHARED:
            return self._shared(name)
        values = getattr(self, name)
        if name == "score":
            return _no_nan(np.frombuffer(values, FLOAT).tolist())
        if name == "at":
            return [from_micros(value) for value in np.frombuffer(values, INT).tolist()]
        if values is not None:
            return divided(values)
        return (
            [decided or None for decided in divided(self.decision)]
            if name == "action"
            else [ABSENT.get(name)] * len(self)
        )

    def _shared(self, name: str) -> Sequence[Any]:
        if name in _OF_ORIGIN:
            return list(chain.from_iterable(repeat(getattr(one, name), one.rows) for one in self.origins))
        return [self.scored_at if name == "scored_at" else getattr(self.maker, name)] * len(self)

    def part(self, start: int, end: int, origin: Origin) -> "Block":
        """The rows from `start` to `end`, which are all those of `origin`."""
        wide = len(self.cells) // len(self)
        own = {name: values[start:end] for name in LISTED if (values := getattr(self, name)) is not None}
        return Block(
            made_by=self.made_by,
            scored_at=self.scored_at,
            origins=[origin],
            prediction_id=divided(self.prediction_id)[start:end],
            key=divided(self.key)[start:end],
            at=self.at[start * INT.itemsize : end * INT.itemsize],
            score=self.score[start * FLOAT.itemsize : end * FLOAT.itemsize],
            decision=divided(self.decision)[start:end],
            cells=self.cells[start * wide : end * wide],
            texts=[divided(values)[start:end] for values in self.texts],
            **own,
        )

    def without(self, places: set[int]) -> "Block":
        """The block without the rows at `places`."""
        kept = [place for place in range(len(self)) if place not in places]
        left = np.array(kept, dtype=np.intp)
        cells = np.frombuffer(self.cells, FLOAT).reshape(len(self), len(self.maker.numbers))

        def rest(values: Sequence[Any] | None) -> list[Any] | None:
            if values is None:
                return None
            held = divided(values)
            return [held[place] for place in kept]

        own: dict[str, Any] = {
            name: rest(getattr(self, name)) for name in ("prediction_id", "key", "decision", *LISTED)
        }
        return msgspec.structs.replace(
            self,
            origins=list(_fewer(self.origins, places)),
            at=np.frombuffer(self.at, INT)[left].tobytes(),
            score=np.frombuffer(self.score, FLOAT)[left].tobytes(),
            cells=cells[left].tobytes(),
            texts=[rest(values) for values in self.texts],
            **own,
        )


def divided(values: Any) -> list[Any]:
    """Texts as a list, however they lie."""
    return values.split(DIVIDER) if isinstance(values, str) else values


def joined(values: Sequence[str | None] | str) -> str | None:
    """Texts as one, None where one is missing or holds the divider."""
    if isinstance(values, str):
        return values
    try:
        text = DIVIDER.join(values)  # type: ignore[arg-type]
    except TypeError:
        return None
    return text if text.count(DIVIDER) == len(values) - 1 else None


@lru_cache(maxsize=1024)
def maker_of(made_by: bytes) -> Maker:
    """The maker that is encoded in a block."""
    return msgspec.msgpack.decode(made_by, type=Maker)


def packed_times(times: Sequence[datetime]) -> bytes:
    """Times as a block holds them."""
    if len(times) > 1 and times[0] is times[-1] and times.count(times[0]) == len(times):
        return np.full(len(times), micros(times[0]), INT).tobytes()
    return np.array([micros(value) for value in times], INT).tobytes()


def packed_numbers(values: Sequence[float | None]) -> bytes:
    """Numbers as a block holds them."""
    return np.array(values, FLOAT).tobytes()


def _no_nan(values: list[Any]) -> list[Any]:
    return [None if value != value else value for value in values]  # noqa: PLR0124 - only NaN differs from itself


def _fewer(origins: Sequence[Origin], places: set[int]) -> Iterator[Origin]:
    start = 0
    for origin in origins:
        left = sum(place not in places for place in range(start, start + origin.rows))
        start += origin.rows
        if left:
            yield msgspec.structs.replace(origin, rows=left)


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

    def each(self) -> "Iterator[Predictions]":
        """What each caller is answered, where several asked; of one block."""
        [block], start = self.blocks, 0
        if len(block.origins) == 1:
            yield self
            return
        for origin in block.origins:
            yield Predictions((block.part(start, start + origin.rows, origin),))
            start += origin.rows

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


_decoder = msgspec.msgpack.Decoder(Block)


def encode(block: Block) -> bytes:
    """A block as the payload of a spool frame, with its texts as one each: a list costs whoever reads it a text of Python's a row."""
    if len(block) == 1:
        return _encoder.encode(block)
    packed = msgspec.structs.replace(
        block,
        prediction_id=_joined_or_listed(block.prediction_id),
        key=_joined_or_listed(block.key),
        decision=_joined_or_listed(block.decision),
        texts=[_joined_or_listed(values) for values in block.texts],
    )
    return _encoder.encode(packed)


def _joined_or_listed(values: Any) -> Any:
    text = joined(values)
    return values if text is None else text


def decode(payload: bytes) -> Block:
    """The block in `payload`. Raises `msgspec.DecodeError`."""
    return _decoder.decode(payload)
