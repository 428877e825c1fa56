"""What differs between what is in force and what is declared, as a ledger entry tells it."""

from collections.abc import Iterator
from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True):
    """One difference between what is applied and what is declared. `path` says where, e.g. `models.late.views[0].by`."""

    kind: str
    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "") -> list[Change]:
    """Every difference between two values of plain data: dicts and lists of one length are gone into."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        return [change for name in names for change in _member(f"{path}.{name}" if path else name, name, before, after)]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [change for place, (old, new) in pairs for change in differences(old, new, f"{path}[{place}]")]
    return [] if before == after else [Change("change", path, before, after)]


def _member(path: str, name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    if name in before and name in after:
        yield from differences(before[name], after[name], path)
    elif name in after:
        yield Change("add", path, None, after[name])
    else:
        yield Change("remove", path, before[name], None)
