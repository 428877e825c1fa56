"""What was found in code that is adopted: where, what it means, what to do."""

from typing import Literal

import msgspec

Weight = Literal["blocks", "decide", "note"]


class Finding(msgspec.Struct, frozen=True):
    """One thing found. `cell` counts code cells from 1 and is None in a script; `line` counts in the cell, or in the script.

    `weight`: "blocks" (no pipeline can be written before it is mended), "decide" (written, but a person must look), "note".
    """

    kind: str
    weight: Weight
    cell: int | None
    line: int
    what: str
    do: str

    @property
    def where(self) -> str:
        """The place in words: `cell 3, line 2` or `line 7`."""
        return f"line {self.line}" if self.cell is None else f"cell {self.cell}, line {self.line}"


_ORDER: dict[Weight, int] = {"blocks": 0, "decide": 1, "note": 2}


def in_order(findings: list[Finding]) -> list[Finding]:
    """The gravest first, then from top to bottom; each once."""
    return sorted(
        dict.fromkeys(findings), key=lambda one: (_ORDER[one.weight], one.cell or 0, one.line, one.kind, one.what)
    )
