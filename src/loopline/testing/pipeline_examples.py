"""Small pipelines for the suite: `calls` counts what was done, and what is in `broken` fails."""

from collections import Counter
from typing import Any

import loopline as ll

calls: Counter[str] = Counter()
broken: set[str] = set()


@ll.step
def numbers(count: int) -> list[int]:
    """0 and up."""
    return list(range(count))


@ll.step
def double(value: int) -> int:
    """Twice the value; fails while it is told to."""
    calls[f"double {value}"] += 1
    if f"double {value}" in broken:
        raise ConnectionError(f"no {value}")
    return 2 * value


@ll.step(reuse=False)
def total(values: list[int]) -> int:
    """The sum."""
    calls["total"] += 1
    return sum(values)


@ll.step
def large(value: int) -> bool:
    """Whether it is above ten."""
    return value > 10


@ll.step
def told(value: int) -> str:
    """It in words."""
    return f"it is {value}"


@ll.step
def shown(text: str | None) -> str:
    """The words, if there are any."""
    return text or "nothing"


@ll.step(retries=ll.Retries(2, first="1s", at_most="1s"))
def flaky(name: str) -> str:
    """Fails while it is told to."""
    calls[name] += 1
    if name in broken:
        raise ConnectionError(name)
    return name


@ll.step(limit="few", reuse=False)
def limited(value: int) -> int:
    """Itself."""
    return value


@ll.step
def big(size: int) -> bytes:
    """As many bytes."""
    calls["big"] += 1
    return b"x" * size


@ll.step(reuse=False)
def length(content: bytes, after: int) -> int:
    """How many bytes."""
    calls["length"] += 1
    return len(content) + 0 * after


@ll.pipeline
def doubled(count: int) -> Any:
    """The sum of the doubles."""
    return total(double.each(numbers(count)))


@ll.pipeline
def conditional(value: int) -> Any:
    """Says what is large."""
    twice = double(value)
    return shown(told(twice, when=large(twice)))


@ll.pipeline
def retried(name: str) -> Any:
    """One flaky step."""
    return flaky(name)


@ll.pipeline(limits={"few": 1000})
def many(count: int) -> Any:
    """Limited steps."""
    return limited.each(list(range(count)))


@ll.pipeline
def measured(size: int) -> Any:
    """Reads what another step made, after a third."""
    return length(big(size), double(1))
