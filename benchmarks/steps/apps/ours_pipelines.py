"""The pipelines that Loopline runs, inline and by a worker: a module, so that a worker can import it."""

from typing import Any

import loopline as ll


@ll.step
def add(value: int) -> int:
    return value + 1


@ll.step
def total(values: list[int]) -> int:
    return sum(values)


@ll.pipeline
def sequence(count: int) -> Any:
    value = 0
    for _ in range(count):
        value = add(value)
    return value


@ll.pipeline
def fan_out(count: int) -> Any:
    return total(add.each(list(range(count))))
