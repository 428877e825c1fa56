import pytest
import sqlalchemy as sa


def test_select(database):
    with database.reading() as tx:
        assert tx.scalar(sa.text("select 1")) == 1


@pytest.mark.parametrize("n", range(5))
def test_select_n(database, n):
    with database.reading() as tx:
        assert tx.scalar(sa.text("select 1")) == 1
