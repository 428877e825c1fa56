"""Rows for evidence: what of them goes into profiles, sentences and the ledger names no person."""

import polars as pl

from loopline.loop.lane import Lane
from loopline.loop.personal_fields import personal_fields
from loopline.loop.resources import Resources
from loopline.tables.masked import masked

DIGITS = 2


def discreet(resources: Resources, lane: Lane, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with pseudonyms for texts in fields that are made of personal columns, and two significant digits for numbers.

    Both are the same whenever they are made, so that profiles of then and now can be compared.
    """
    personal = personal_fields(resources, lane.project, lane.model) & set(rows.columns)
    if not personal:
        return rows
    texts = [name for name in personal if rows.schema[name] in (pl.String, pl.Categorical, pl.Enum)]
    numbers = [name for name in rows.columns if name in personal and rows.schema[name].is_numeric()]
    return masked(rows, texts, resources.pseudonyms).with_columns(pl.col(numbers).round_sig_figs(DIGITS))
