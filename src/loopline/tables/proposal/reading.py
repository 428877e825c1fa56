"""How a column is read: the same steps as a Polars expression and as the code to paste."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

Kind = Literal["whole", "number", "boolean", "date", "time", "text", "nothing"]

DTYPES: dict[Kind, pl.DataType] = {
    "whole": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "time": pl.Datetime("us", "UTC"),
    "text": pl.String(),
    "nothing": pl.String(),
}
CODES: dict[Kind, str] = {
    "whole": "pl.Int64",
    "number": "pl.Float64",
    "boolean": "pl.Boolean",
    "date": "pl.Date",
    "time": 'pl.Datetime("us", "UTC")',
    "text": "pl.String",
    "nothing": "pl.String",
}


class Code(str):
    """Text that is Python code already."""

    __slots__ = ()


@dataclass(frozen=True)
class Step:
    """One call on an expression, such as `.str.strip_chars()`. A `pl.` dtype is given with the code that names it."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    written: tuple[str, ...] | None = None

    def on(self, expression: pl.Expr) -> pl.Expr:
        """The call, made."""
        found: Any = expression
        for part in self.method.split("."):
            found = getattr(found, part)
        made: pl.Expr = found(*self.arguments, **dict(self.options))
        return made

    def code(self) -> str:
        """The call, written."""
        given = self.written if self.written is not None else tuple(map(literal, self.arguments))
        named = [f"{name}={literal(value)}" for name, value in self.options]
        return f".{self.method}({', '.join([*given, *named])})"


@dataclass(frozen=True)
class Reading:
    """How the column `name` of a file becomes a column of `kind`: the first of `ways` that gives a value holds."""

    name: str
    kind: Kind
    ways: tuple[tuple[Step, ...], ...] = ((),)

    def expression(self) -> pl.Expr:
        """What reads the column, under its own name."""
        made = []
        for way in self.ways:
            expression = pl.col(self.name)
            for step in way:
                expression = step.on(expression)
            made.append(expression)
        return (made[0] if len(made) == 1 else pl.coalesce(*made)).alias(self.name)

    def code(self) -> str:
        """The same, to paste."""
        column = f"pl.col({literal(self.name)})"
        made = [column + "".join(step.code() for step in way) for way in self.ways]
        return made[0] if len(made) == 1 else f"pl.coalesce({', '.join(made)})"

    @property
    def is_plain(self) -> bool:
        """Whether the column is taken as it is."""
        return self.ways == ((),)

    @property
    def dtype(self) -> pl.DataType:
        """What it gives."""
        return DTYPES[self.kind]


def cast(kind: Kind, *, strict: bool = True) -> Step:
    """The step that casts to the dtype of a kind; what cannot be cast is null unless `strict`."""
    return Step("cast", (DTYPES[kind],), () if strict else (("strict", False),), (CODES[kind],))


def literal(value: Any) -> str:
    """A value as Python code, strings in double quotes."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(literal, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    return repr(value)
