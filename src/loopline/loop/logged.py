"""A logged prediction, found by its id."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.models import registry
from loopline.scoring.record import prediction_table
from loopline.tables.masked import masked_rows


@dataclass(frozen=True)
class Logged:
    """One row of a prediction table."""

    project: str
    model: str
    row: pl.DataFrame

    def shown(self, resources: Resources) -> dict[str, Any]:
        """The row as those see it who may not see personal values."""
        name = prediction_table(self.project, self.model)
        return masked_rows(resources.tables, name, self.row, resources.pseudonyms).row(0, named=True)


def logged_prediction(resources: Resources, prediction_id: str) -> Logged | None:
    """The prediction; None where no table of this home has it (yet)."""
    with resources.database.reading() as tx:
        places = [(project, model) for project in projects(tx) for model in registry.models(tx, project)]
    for project, model in places:
        name = prediction_table(project, model)
        if resources.tables.exists(name):
            rows = resources.tables.open(name).read(where=pl.col("prediction_id") == prediction_id)
            if rows.height:
                return Logged(project, model, rows.head(1))
    return None
