"""A logged prediction, found by its id."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from loopline.gates.environment import endpoint_of
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.models import registry
from loopline.scoring.record import prediction_table
from loopline.storage.database import Transaction
from loopline.tables.masked import masked_rows


@dataclass(frozen=True)
class Logged:
    """One row of a prediction table; `endpoint` is where it was asked for, `late@staging` in staging."""

    project: str
    model: str
    row: pl.DataFrame
    endpoint: str

    def shown(self, resources: Resources) -> dict[str, Any]:
        """The row as those see it who may not see personal values."""
        name = prediction_table(self.project, self.endpoint)
        return masked_rows(resources.tables, name, self.row, resources.pseudonyms).row(0, named=True)


def logged_prediction(resources: Resources, prediction_id: str) -> Logged | None:
    """The prediction; None where no table of this home has it (yet)."""
    with resources.database.reading() as tx:
        places = [place for project in projects(tx) for place in _places(tx, project)]
    for project, model, endpoint in places:
        name = prediction_table(project, endpoint)
        if resources.tables.exists(name):
            rows = resources.tables.open(name).read(where=pl.col("prediction_id") == prediction_id)
            if rows.height:
                return Logged(project, model, rows.head(1), endpoint)
    return None


def _places(tx: Transaction, project: str) -> list[tuple[str, str, str]]:
    """Project, model and endpoint of everything that serves: each environment's predictions lie in a table of their own."""
    return [
        (project, model, endpoint_of(model, names, environment))
        for model in registry.models(tx, project)
        for names in [declared_route(tx, project, model).environments]
        for environment in names
    ]
