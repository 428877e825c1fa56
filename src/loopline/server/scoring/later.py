"""An answer that comes before the event loop has turned once more: handed on by calls, for a task costs more than a small model."""

import asyncio
from collections.abc import Callable
from typing import Any


class Later:
    """Goes through the steps of those who wait for it, one after the other, once it is there. Used by one event loop."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[Callable[[Any], Any]] = []

    def then(self, step: Callable[[Any], Any]) -> "Later":
        """Have `step` take what the step before it gave: at first the value, or the exception that there is instead."""
        self._steps.append(step)
        return self

    def give(self, value: Any) -> None:
        """Hand on the value, or the exception. What a step raises is what the next one gets."""
        for step in self._steps:
            try:
                value = step(value)
            except Exception as error:  # who waits is owed an answer, and others wait behind
                value = error

    async def awaited(self) -> Any:
        """The value, for a task. Raises the exception that there is instead."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.then(future.set_result)
        found = await future
        if isinstance(found, Exception):
            raise found
        return found
