"""Named limits that steps of any execution share: how many at once, how many in a time."""

import re
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from loopline.errors import InvalidInput
from loopline.values import duration

_TERM = re.compile(r"(\d+)(?:/(\w+))?")
Terms = int | str


class Limit(msgspec.Struct, frozen=True):
    """At most `concurrency` at once (None: any number), and `rate` starts in `per` milliseconds (None: any)."""

    name: str
    concurrency: int | None
    rate: int | None
    per: int | None


def read_limits(given: Mapping[str, Terms]) -> list[Limit]:
    """Limits as they are declared: `4` or `"4"` at once, `"10/1m"` or `"10/m"` in a minute, `"4, 10/1m"` both.

    Raises `InvalidInput` "pipeline.limit".
    """
    return [_read(name, str(terms)) for name, terms in given.items()]


def limits_in(text: str) -> list[Limit]:
    """Limits as the setting LOOPLINE_LIMITS has them: `api=4; mail=10/1m`."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    return read_limits({name.strip(): terms for name, _, terms in pairs})


def _read(name: str, text: str) -> Limit:
    concurrency = rate = per = None
    for part in text.split(","):
        found = _TERM.fullmatch(part.strip())
        if found is None or int(found[1]) < 1 or not name:
            raise InvalidInput(
                "pipeline.limit",
                f"{text!r} is no limit for {name!r}",
                remedy='Give how many at once (4), how many in a time ("10/1m"), or both ("4, 10/1m").',
            )
        if found[2] is None:
            concurrency = int(found[1])
        else:
            per_text = found[2] if found[2][0].isdigit() else f"1{found[2]}"
            rate, per = int(found[1]), duration(per_text) // timedelta(milliseconds=1)
    return Limit(name, concurrency, rate, per)
