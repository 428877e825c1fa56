"""Whether rows stand in the order of a column, such as all of one class before those of the next."""

import polars as pl

_FEW = 50  # as many values as classes may have
_RUNS, _RISES = 0.5, 0.7


def stand_in_order(column: pl.Series) -> bool:
    """True where the value changes from row to row less than half as often as it would by chance; of many different values, where
    their ranks go with the place (a correlation beyond 0.7).
    """
    known = column.drop_nulls()
    if known.dtype.is_nested() or known.n_unique() <= 1:
        return False
    if known.n_unique() > _FEW:
        rises = pl.select(pl.corr(known.rank(), pl.int_range(len(known), eager=True))).item()
        return abs(float(rises)) > _RISES
    shares = known.value_counts()["count"] / len(known)
    by_chance = (1 - float((shares**2).sum())) * (len(known) - 1)
    return int((known != known.shift()).sum()) < _RUNS * by_chance
