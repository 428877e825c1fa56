"""Scores for the rows of a part, each from the highest rung that can score it alone: how rows are cut into parts changes nothing.

A request falls to the next rung as a whole. Here one row without a value, for a model that takes none, must not decide how a
hundred thousand others are answered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from loopline.errors import Unavailable
from loopline.models.signature import Signature
from loopline.scoring.batch.frame_contract import ROW
from loopline.scoring.carried import GROUP, recorded
from loopline.scoring.engine import Engine
from loopline.scoring.frame import Framed
from loopline.scoring.ladder import Rung

NO_MODEL = "scoring.no_model"


@dataclass(frozen=True)
class Scoring:
    """The engine; by the variants it has, from the highest, the signature of one that takes no missing values, else None.

    `scored_at` and `seed` are as for `Engine.predict_frame`.
    """

    engine: Engine
    variants: Mapping[str, Signature | None]
    scored_at: datetime
    seed: int

    def predict(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The records of `rows` (as `Engine.predict_frame` takes them, with `_row`) in their order; and the rows that no rung scores.

        Raises as `Engine.predict_frame`, but for "scoring.no_model".
        """
        pieces = [piece for expected, alike in self._alike(rows) for piece in self._answered(alike, expected)]
        if len(pieces) == 1 and pieces[0].height == rows.height:
            return pieces[0].drop(ROW), rows.clear()
        if not pieces:
            return rows.select(ROW).clear(), rows
        made = pl.concat(pieces, how="diagonal").sort(ROW)
        answered = rows.select(ROW).join(made, on=ROW, how="inner", maintain_order="left")
        left = rows.join(made.select(ROW), on=ROW, how="anti", maintain_order="left")
        return self._placed(rows, answered).drop(ROW), left

    def _placed(self, rows: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
        """With places in a group that are told of whole groups, and not of what was scored together."""
        if GROUP not in rows.columns:
            return made
        scored = rows.join(made.select(ROW), on=ROW, how="semi", maintain_order="left")
        places = recorded(scored, scored[self.engine.deployment.at], made["score"].to_numpy())["position"]
        return made.with_columns(places.alias("position"))

    def _alike(self, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """The rows, apart by which variants lack a value for them; with the first that lacks none."""
        lacks = {rung.variant: self._lacks(rung, rows) for rung in self.engine.ladder.rungs}
        kind = np.zeros(rows.height, np.int64)
        for place, lack in enumerate(lacks.values()):
            kind |= lack.astype(np.int64) << place
        for one in np.unique(kind):
            below = self.engine.ladder.bottom.variant
            expected = next((name for place, name in enumerate(lacks) if not one >> place & 1), below)
            yield expected, rows.filter(pl.Series(kind == one))

    def _answered(self, rows: pl.DataFrame, expected: str) -> list[pl.DataFrame]:
        """The records of rows that are alike. Where they fall further than expected, each half is tried by itself."""
        try:
            made = self.engine.predict_frame(rows.drop(ROW), scored_at=self.scored_at, seed=self.seed)
        except Unavailable as error:
            if error.code != NO_MODEL:
                raise
            if rows.height == 1 or expected == self.engine.ladder.bottom.variant:
                return []
        else:
            if rows.height <= 1 or made["variant"][0] == expected:
                return [made.with_columns(rows[ROW])]
        half = rows.height // 2
        return [*self._answered(rows.head(half), expected), *self._answered(rows.slice(half), expected)]

    def _lacks(self, rung: Rung, rows: pl.DataFrame) -> np.ndarray:
        """Which rows lack a value that the model needs, after what is imputed."""
        if self.variants.get(rung.variant) is None:
            return np.zeros(rows.height, dtype=bool)
        framed = Framed(rows)
        matrix = framed.encode(rung.contract)
        rung.contract.treat(matrix, framed)
        return np.asarray(np.isnan(matrix).any(axis=1))
