"""Names that point at a version and remember where they pointed: champion, challenger, the current decision."""

from datetime import datetime
from typing import Literal

import msgspec

from loopline.errors import InvalidInput
from loopline.models import store
from loopline.storage.database import Transaction

Target = Literal["model", "decision"]


class AliasChange(msgspec.Struct, frozen=True, kw_only=True):
    """From `from_at` (UTC) on, until the next change, `alias` meant `version`; None took it away."""

    alias: str
    version: int | None
    from_at: datetime


def point(
    tx: Transaction, *, project: str, model: str, target: Target, alias: str, version: int | None, at: datetime
) -> int | None:
    """Let `alias` mean `version` from `at` on; gives the version before. Pointing where it points already changes nothing.

    Raises `InvalidInput` where `at` lies before the alias's last change.
    """
    store.lock(tx, project, model)
    last = store.alias_changes(tx, project, model, target, alias, newest=True)
    before = last[0]["version"] if last else None
    if before == version:
        return before
    if last and at < last[0]["from_at"]:
        raise InvalidInput(
            "model.alias_backwards",
            f"{alias} of {model} changed at {last[0]['from_at'].isoformat()}, after {at.isoformat()}",
            remedy="Give a time that is not before the last change.",
        )
    change = last[0]["change"] + 1 if last else 1
    named = {"project": project, "model": model, "target": target, "alias": alias}
    store.insert_alias_change(tx, {**named, "change": change, "version": version, "from_at": at})
    return before


def pointed(
    tx: Transaction, project: str, model: str, target: Target, alias: str, *, at: datetime | None = None
) -> int | None:
    """The version `alias` means, now or at the moment `at`; None where it means none."""
    last = store.alias_changes(tx, project, model, target, alias, at=at, newest=True)
    return last[0]["version"] if last else None


def history(tx: Transaction, project: str, model: str, target: Target, alias: str) -> list[AliasChange]:
    """Every change of `alias`, from the first."""
    rows = store.alias_changes(tx, project, model, target, alias)
    return [AliasChange(alias=row["alias"], version=row["version"], from_at=row["from_at"]) for row in rows]
