"""The versions of a model that something else serves: registered as they first answer, so that the ledger says what served when."""

from datetime import datetime

import polars as pl

from loopline.gates.promotion import CHAMPION, promote
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.package import PAYLOAD_TYPE, Elsewhere
from loopline.models.signing import sign
from loopline.storage.database import Transaction
from loopline.values import micros

UNNAMED = "unnamed"
"""What a version is called where no column says which answered."""


def version_numbers(resources: Resources, lane: Lane, rows: pl.DataFrame) -> list[int]:
    """The number of the version that answered each of `rows`, which have their moment in `_at`. Those that are new are registered, and the one that answered
    last is the champion from its first row on. Done again, it changes nothing.
    """
    model = lane.operation.model
    column = model.external.version if model.external else ""
    named = rows[column].cast(pl.String).fill_null(UNNAMED) if column else pl.Series([UNNAMED] * rows.height)
    first = pl.DataFrame({"version": named, "at": rows["_at"], "known": rows["_known_at"]}).sort(
        "at", maintain_order=True
    )
    begun = first.unique("version", keep="first", maintain_order=True)
    last = str(first["version"][-1])
    packages = {name: _package(resources, lane, name) for name in begun["version"]}
    numbers: dict[str, int] = {}
    with resources.database.transaction() as tx:
        for name, at, known in begun.iter_rows():
            numbers[name] = _registered(tx, lane, name, packages[name], max(at, known))
            if name == last:
                _serves(tx, lane, name, numbers[name], max(at, known))
    return [numbers[name] for name in named]


def _package(resources: Resources, lane: Lane, name: str) -> tuple[str, str]:
    """What stands for the package of a version that is not here: that it is served elsewhere, and its name."""
    content = Elsewhere(f"{lane.project}:{lane.model}", name).encoded()
    envelope = resources.artifacts.put(sign(resources.key, PAYLOAD_TYPE, content))
    return resources.artifacts.put(content), envelope


def _registered(tx: Transaction, lane: Lane, name: str, package: tuple[str, str], at: datetime) -> int:
    return registry.register_version(
        tx,
        project=lane.project,
        model=lane.model,
        package=package[0],
        envelope=package[1],
        run_id=None,
        lineage={"served_elsewhere": name},
        metrics={},
        at=at,
        cause=f"external:{name}",
        created_by="loop",
    ).version


def _serves(tx: Transaction, lane: Lane, name: str, number: int, at: datetime) -> None:
    if registry.alias(tx, lane.project, lane.model, CHAMPION) == number:
        return
    promote(
        tx,
        project=lane.project,
        model=lane.model,
        version=number,
        actor="loop",
        at=at,
        evidence={"cause": f"version {name} answered elsewhere"},
        key=f"external:{lane.model}:{number}:{micros(at)}",
    )
