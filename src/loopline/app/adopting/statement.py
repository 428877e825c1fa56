"""A statement of the top level, and what became known of it."""

import ast
from dataclasses import dataclass, field
from typing import Literal

from loopline.app.adopting.effects import Effect

Role = Literal["import", "top", "define", "constant", "param", "derive", "folder", "left_out", "work"]


@dataclass
class Statement:
    """`first` and `last` are its lines, with the comments above it; `kinds` those of the names it makes or changes.

    Its role: `top` (import, setting, function that reads no variables, constant) stands in the file as it is; `derive` and `folder` are
    repeated in each step that needs them; `define` is a function that reads variables and is defined again in each step that
    calls it; `work` stands in one step.
    """

    node: ast.stmt
    number: int
    first: int
    last: int
    cell: int
    role: Role = "work"
    reads: dict[str, None] = field(default_factory=dict)
    sure: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    effects: list[Effect] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    phase: str = "compute"
    picture: str = ""

    @property
    def makes(self) -> set[str]:
        """Names it binds or whose values it changes."""
        return self.sure | self.perhaps | self.changes

    @property
    def binds(self) -> set[str]:
        """Names it binds, for sure or perhaps."""
        return self.sure | self.perhaps
