"""What `up` begins: a loop with its pipelines, or pipelines alone."""

from datetime import datetime
from pathlib import Path
from typing import Protocol

from loopline.app.addresses import Addresses
from loopline.config import Settings


class Operation(Protocol):
    """A home in operation. `start` returns once requests are answered; `run` blocks until a signal ends it."""

    def start(self) -> Addresses:
        """Begin."""

    def run(self) -> None:
        """Go on until a signal, and stop in order."""


def operation(settings: Settings, file: Path | None, *, begin: datetime | None = None) -> Operation:
    """That of the loop in `file`, or without one that of the home's pipelines. Raises as `Up`, `PipelinesUp` and `load_loop`."""
    if file is None:
        from loopline.app.up_pipelines import PipelinesUp  # noqa: PLC0415 - it needs none of what trains and scores

        return PipelinesUp(settings)
    from loopline.app.up import Up  # noqa: PLC0415 - as above
    from loopline.loop.load import load_loop  # noqa: PLC0415 - as above

    return Up(settings, load_loop(file), begin=begin)
