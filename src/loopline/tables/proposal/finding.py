"""Findings: what is wrong, or worth a look, in rows that were checked."""

from typing import Literal

import msgspec

Level = Literal["error", "warning", "note"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `code` is stable; `column` is as the file names it; `rows` how many of the rows looked at it is about."""

    level: Level
    code: str
    message: str
    column: str | None = None
    rows: int | None = None
    remedy: str = ""


def at_least(findings: list[Finding], level: Level) -> list[Finding]:
    """The findings that are as grave as `level`, or graver."""
    grave = LEVELS[: LEVELS.index(level) + 1]
    return [finding for finding in findings if finding.level in grave]


def by_gravity(findings: list[Finding]) -> list[Finding]:
    """The findings in the order of their levels, otherwise as they stand."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
