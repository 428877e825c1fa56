"""What a step goes on with after a remedy: other inputs, another function, or another execution's result."""

import msgspec

from loopline.pipelines.codecs import Value


class Instead(msgspec.Struct, frozen=True, omit_defaults=True):
    """Kept in the step's row, so that any worker goes on with it. `kind` is the remedy's.

    `inputs` replace what parameters were bound to, `bad` are the artifacts of the `rows` that were set aside from them; `function` is
    called in place of the step's; the result was taken from `execution`, `stale_seconds` after that gave it.
    """

    kind: str
    inputs: dict[str, Value] = {}
    bad: dict[str, str] = {}
    rows: int = 0
    function: str = ""
    execution: str = ""
    stale_seconds: float = 0.0

    @property
    def cost(self) -> dict[str, float]:
        """What healing cost, as remedies tell it."""
        told: dict[str, float] = {"rows": self.rows} if self.rows else {}
        return {**told, "stale_seconds": self.stale_seconds} if self.execution else told
