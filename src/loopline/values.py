"""Values that every part shares: times, windows, durations, digests, derived chance and ids."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from loopline.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DIGITS = 12
_LONGEST = 100 * 366 * 86400
_DURATION = re.compile(r"(\d+)([smhdw])")


def utc(value: datetime) -> datetime:
    """The same moment in UTC. Raises `InvalidInput` for a datetime without a zone: guessing one is how leaks begin."""
    if value.tzinfo is None:
        raise InvalidInput(
            "time.without_zone",
            f"{value.isoformat()} has no time zone",
            remedy="Give times with their zone, e.g. in UTC.",
        )
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def micros(value: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    return (utc(value) - EPOCH) // MICROSECOND


def from_micros(value: int) -> datetime:
    """The moment `value` microseconds after 1970-01-01 UTC."""
    return EPOCH + value * MICROSECOND


def duration(text: str | timedelta) -> timedelta:
    """Read `"90s"`, `"15m"`, `"3h"`, `"2d"`, `"1w"` or a sum such as `"1d12h"`; a timedelta passes through."""
    if isinstance(text, timedelta):
        return text
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(
            "duration.unreadable",
            f"{text!r} is not a duration",
            remedy='Write e.g. "90s", "15m", "3h", "2d", "1w" or "1d12h".',
        )
    seconds = sum(int(number[:_DIGITS]) * _UNITS[unit] for number, unit in parts)
    if seconds > _LONGEST or any(len(number) > _DIGITS for number, _ in parts):
        raise InvalidInput(
            "duration.too_long", f"{text[:40]!r} is longer than a century", remedy="Give a shorter duration."
        )
    return timedelta(seconds=seconds)


def duration_text(value: timedelta) -> str:
    """The shortest text that `duration` reads back, in whole seconds; `24h` is written `1d`."""
    left, text = int(value.total_seconds()), ""
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


@dataclass(frozen=True, order=True)
class Window:
    """The times in (start, end], both UTC. `start` itself belongs to the window before."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        object.__setattr__(self, "end", utc(self.end))
        if self.start >= self.end:
            raise InvalidInput(
                "window.empty",
                f"the window from {self.start.isoformat()} to {self.end.isoformat()} holds no time",
                remedy="Give a start before the end.",
            )

    def __contains__(self, moment: datetime) -> bool:
        return self.start < moment <= self.end

    def __str__(self) -> str:
        return f"({self.start:%Y-%m-%dT%H:%M:%SZ}, {self.end:%Y-%m-%dT%H:%M:%SZ}]"


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no white space: equal values give equal bytes. NaN becomes null."""
    return msgspec.json.encode(value, order="deterministic")


def digest(content: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def derive_seed(seed: int, *path: object) -> int:
    """A seed of 32 bits for what `path` names, derived from `seed` alone: no shared stream, so a resumed run goes on as if
    it had never stopped.
    """
    return int.from_bytes(_derive(seed, path)[:4], "big")


def derive_id(prefix: str, seed: int, *path: object) -> str:
    """An id `prefix_` and 20 hex digits for what `path` names, derived from `seed` alone."""
    return f"{prefix}_{_derive(seed, (prefix, *path)).hex()[:20]}"


def derive_ids(prefix: str, seed: int, path: Sequence[object], lasts: Iterable[Iterable[object]]) -> list[str]:
    """`derive_id(prefix, seed, *path, *last)` for each of many: what they share is digested once."""
    begun = hashlib.sha256(_joined((seed, prefix, *path, "")))
    ids = []
    for last in lasts:
        one = begun.copy()
        one.update(_joined(last))
        ids.append(f"{prefix}_{one.hexdigest()[:20]}")
    return ids


def _derive(seed: int, path: tuple[object, ...]) -> bytes:
    return hashlib.sha256(_joined((seed, *path))).digest()


def _joined(parts: Iterable[object]) -> bytes:
    return "\x1f".join(map(str, parts)).encode()
