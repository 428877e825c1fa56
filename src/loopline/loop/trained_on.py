"""Which model versions were trained on a person's rows, as far as their lineage tells."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from loopline.gates.promotion import CHAMPION
from loopline.loop.receipt import TrainedOn
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.models import registry
from loopline.values import utc

ADVICE = "Its parameters were fitted on rows of this person. Retrain, and retire the version, where that must not stay."


def trained_on(resources: Resources, theirs: Mapping[str, set[str]]) -> list[TrainedOn]:
    """The versions that read a table in which the person, whose row keys are `theirs` by table, had rows that were known when
    they were trained.
    """
    known = {table: moment for table, keys in theirs.items() if (moment := _first_known(resources, table, keys))}
    found = []
    with resources.database.reading() as tx:
        for project in projects(tx):
            for model in registry.models(tx, project):
                champion = registry.alias(tx, project, model, CHAMPION)
                for version in registry.versions(tx, project, model):
                    as_of = version.lineage.get("as_of")
                    tables = version.lineage.get("tables", {})
                    if as_of and any(
                        known[table] <= utc(datetime.fromisoformat(as_of)) for table in tables if table in known
                    ):
                        number = version.version
                        found.append(TrainedOn(project, model, number, as_of, number == champion, ADVICE))
    return found


def _first_known(resources: Resources, table: str, keys: set[str]) -> datetime | None:
    if not keys or not resources.tables.exists(table):
        return None
    rows = resources.tables.open(table).read(columns=["_known_at"], where=pl.col("_key").is_in(list(keys)))
    first: datetime | None = rows["_known_at"].min()  # type: ignore[assignment]  # a column of times
    return first
