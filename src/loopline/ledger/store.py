"""The ledger's table and its SQL."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("prev", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("measured", Json),
    sa.Column("redacted", sa.String),
    sa.UniqueConstraint("project", "key"),
    sa.Index(None, "project", "kind", "seq"),
    sa.Index(None, "project", "subject", "seq"),
)

_PAGE = 500
_AS_STORED = [
    *(column for column in ledger.c if column.name not in {"at", "body", "measured"}),
    *(sa.type_coerce(column, sa.Text).label(column.name) for column in (ledger.c.at, ledger.c.body)),
]


def insert(tx: Transaction, values: dict[str, Any]) -> None:
    """Add one row as it is."""
    tx.execute(ledger.insert().values(values))


def replace_body(tx: Transaction, project: str, seq: int, body: Any, redacted: str) -> None:
    """Put another body in the place of one, and keep the digest of what it was."""
    which = (ledger.c.project == project, ledger.c.seq == seq)
    tx.execute(ledger.update().where(*which).values(body=body, redacted=redacted))


def projects(tx: Transaction) -> list[str]:
    """Every project that has a ledger."""
    return list(tx.execute(sa.select(ledger.c.project).distinct().order_by(ledger.c.project)).scalars())


def by_key(tx: Transaction, project: str, key: str) -> sa.RowMapping | None:
    """The row written under `key`."""
    found = tx.execute(sa.select(ledger).where(ledger.c.project == project, ledger.c.key == key))
    return found.mappings().one_or_none()


def last(tx: Transaction, project: str) -> sa.RowMapping | None:
    """The `seq` and `digest` of the newest row."""
    query = sa.select(ledger.c.seq, ledger.c.digest).where(ledger.c.project == project)
    return tx.execute(query.order_by(ledger.c.seq.desc()).limit(1)).mappings().one_or_none()


def select(
    tx: Transaction,
    project: str,
    *,
    kind: str | None,
    subject: str | None,
    after: int,
    before: int | None,
    limit: int | None,
    newest_first: bool,
) -> list[sa.RowMapping]:
    """The rows with `after` < seq < `before` of this kind and subject, in order."""
    query = sa.select(ledger).where(ledger.c.project == project, ledger.c.seq > after)
    for column, wanted in ((ledger.c.kind, kind), (ledger.c.subject, subject)):
        query = query if wanted is None else query.where(column == wanted)
    query = query if before is None else query.where(ledger.c.seq < before)
    order = ledger.c.seq.desc() if newest_first else ledger.c.seq
    return list(tx.execute(query.order_by(order).limit(limit)).mappings())


def scan(tx: Transaction, project: str) -> Iterator[sa.RowMapping]:
    """All rows by `seq`, a page at a time, with `at` and `body` as they are stored."""
    query = sa.select(*_AS_STORED).where(ledger.c.project == project).order_by(ledger.c.seq).limit(_PAGE)
    reached: int | None = None
    while page := tx.execute(query if reached is None else query.where(ledger.c.seq > reached)).mappings().all():
        yield from page
        reached = page[-1]["seq"]
