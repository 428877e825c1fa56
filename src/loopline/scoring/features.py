"""Where the engine finds the features that the caller does not send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class LookedUp:
    """Feature values by row, and codes of what was wrong with the look-up as a whole."""

    values: Sequence[Mapping[str, Any]]
    codes: tuple[str, ...] = ()


class FeatureReader(Protocol):
    """Gives each row's features as they were at its time. `entities` are the columns it looks rows up by."""

    entities: Sequence[str]

    def read(self, rows: Sequence[Mapping[str, Any]], at: Sequence[datetime]) -> LookedUp: ...


class NoFeatures:
    """For a model whose every field the caller sends."""

    entities: Sequence[str] = ()

    def read(self, rows: Sequence[Mapping[str, Any]], at: Sequence[datetime]) -> LookedUp:  # noqa: ARG002 - the protocol's
        return LookedUp([{}] * len(rows))
