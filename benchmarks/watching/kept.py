"""What was found, kept piece by piece: a run that is stopped has told what it found, and a later one goes on from there."""

import json
from pathlib import Path
from typing import Any

Key = tuple[str, str, str]


class Kept:
    """Lines of JSON, each with its `part`, what it is `of`, the `contestant`, and what was `found` or why it was `stopped`.

    Without a file it remembers only. The line that a killed run left half written is measured anew.
    """

    def __init__(self, where: Path | None) -> None:
        self._where = where
        self._lines: dict[Key, dict[str, Any]] = {}
        if where is None:
            return
        where.parent.mkdir(parents=True, exist_ok=True)
        before = where.read_text() if where.exists() else ""
        if before and not before.endswith("\n"):
            before = before[: before.rfind("\n") + 1]
            where.write_text(before)
        for line in before.splitlines():
            self._remember(json.loads(line))

    def __len__(self) -> int:
        return len(self._lines)

    def find(self, part: str, of: str, contestant: str) -> dict[str, Any] | None:
        """The line, or None."""
        return self._lines.get((part, of, contestant))

    def add(self, line: dict[str, Any]) -> None:
        """Remember it, and write it down at once."""
        self._remember(line)
        if self._where is not None:
            with self._where.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def _remember(self, line: dict[str, Any]) -> None:
        self._lines[line["part"], line["of"], line["contestant"]] = line
