"""Changes of a text at places of its syntax tree; the count of lines stays."""

import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Edit:
    """What stands from one place to another becomes other code; lines from 1, columns in bytes of UTF-8 as `ast` counts them."""

    first: int
    start: int
    last: int
    end: int
    made: str

    @classmethod
    def of(cls, node: Any, made: str) -> "Edit":
        """The code of a node becomes other code."""
        return cls(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, made)


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with the edits made; one that spans lines keeps their count. Of edits within each other the outer counts."""
    lines = [line.encode() for line in text.split("\n")]
    done: list[Edit] = []
    for edit in sorted(set(edits), key=lambda one: (one.first, one.start, -one.last, -one.end)):
        if done and (edit.first, edit.start) < (done[-1].last, done[-1].end):
            continue
        done.append(edit)
    for edit in reversed(done):
        made = edit.made.encode()
        if edit.last > edit.first:
            made = b"(" + made + b"\n" * (edit.last - edit.first) + b")"
        whole = lines[edit.first - 1][: edit.start] + made + lines[edit.last - 1][edit.end :]
        lines[edit.first - 1 : edit.last] = whole.split(b"\n")
    return b"\n".join(lines).decode()


def inside_strings(text: str) -> set[int]:
    """Lines, from 1, that begin inside of a string: what is done to indentation must leave them."""
    found: set[int] = set()
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "STRING":
            found.update(range(token.start[0] + 1, token.end[0] + 1))
        elif kind in {"FSTRING_START", "TSTRING_START"}:
            opened.append(token.start[0])
        elif kind in {"FSTRING_END", "TSTRING_END"}:
            found.update(range(opened.pop() + 1, token.end[0] + 1))
    return found


def shifted(text: str, by: int) -> str:
    """The text indented by so many blanks (or less, if below 0); inside of strings nothing changes."""
    kept = inside_strings(text)
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if number in kept or not line.strip():
            lines.append(line if number in kept else "")
        else:
            lines.append(" " * by + line if by >= 0 else line[-by:] if not line[:-by].strip() else line.lstrip())
    return "\n".join(lines)
