"""Tables of executions, their steps, attempts and events, of cached results and of limits.

Moments that a domain clock told are microseconds since 1970 UTC; `ready_at` and `leased_until` are milliseconds of the database's
clock. They are numbers because these rows are written by plain statements. Each page that a commit touches is written to SQLite's log, so tables are
kept in the order of their keys, without a second tree of row numbers, and indexes hold only rows that are being waited for.
"""

import sqlalchemy as sa

from loopline.storage.columns import metadata

_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

execution = sa.Table(
    "execution",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("key", sa.String(80)),
    sa.Column("origin", sa.String(20), nullable=False),
    sa.Column("again", sa.String(40)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("window_start", sa.BigInteger),
    sa.Column("window_end", sa.BigInteger),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("code", sa.String(80)),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("fresh", sa.Integer, nullable=False),
    sa.Column("open", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("numbers", sa.Integer, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(200), nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.UniqueConstraint("project", "pipeline", "sequence"),
    sa.UniqueConstraint("project", "pipeline", "key"),
    sqlite_with_rowid=False,
)
sa.Index(None, execution.c.created_at)

step = sa.Table(
    "step",
    metadata,
    sa.Column("execution", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(400), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("function", sa.String(400), nullable=False),
    sa.Column("code", sa.String(80), nullable=False),
    sa.Column("bindings", sa.Text, nullable=False),
    sa.Column("condition", sa.Text),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("cores", sa.Double, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
    sa.Column("limited", sa.String(200)),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("plain", sa.Integer, nullable=False),
    sa.Column("needed_by", sa.Text, nullable=False),
    sa.Column("wanted_by", sa.Text, nullable=False),
    sa.Column("parent", sa.Integer),
    sa.Column("element", sa.Integer),
    sa.Column("expanded", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("waits_for", sa.Integer, nullable=False),
    sa.Column("missing", sa.Integer, nullable=False),
    sa.Column("ready_at", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("worker", sa.String(200)),
    sa.Column("leased_until", sa.BigInteger),
    sa.Column("result", sa.Text),
    sa.Column("cached", sa.String(80)),
    sa.Column("reused", sa.String(40)),
    sa.Column("error", sa.Text),
    sa.Column("instead", sa.Text),
    sa.Column("ended_at", sa.BigInteger),
    sqlite_with_rowid=False,
)
_READY, _RUNNING = sa.text("state = 'ready'"), sa.text("state = 'running'")
_ELEMENT = sa.text("parent is not null")
sa.Index(
    "ix_step_ready",
    step.c.rank,
    step.c.ready_at,
    step.c.execution,
    step.c.number,
    sqlite_where=_READY,
    postgresql_where=_READY,
)
sa.Index("ix_step_running", step.c.worker, step.c.leased_until, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
# Neither can stand in for the key: before a table was analyzed, PostgreSQL takes any index that begins with the execution for as good.
sa.Index(None, step.c.name, step.c.execution)
sa.Index(
    "ix_step_elements",
    step.c.execution,
    step.c.parent,
    step.c.element,
    sqlite_where=_ELEMENT,
    postgresql_where=_ELEMENT,
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("execution", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.String(200), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("log", sa.String(80)),
    sa.Column("error", sa.Text),
    sqlite_with_rowid=False,
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", _Number, primary_key=True, autoincrement=True),
    sa.Column("execution", sa.String(40), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("number", sa.Integer),
    sa.Column("attempt", sa.Integer),
    sa.Column("worker", sa.String(200)),
    sa.Column("detail", sa.Text),
)
sa.Index(None, event.c.execution, event.c.id)

cached = sa.Table(
    "cached",
    metadata,
    sa.Column("function", sa.String(400), primary_key=True),
    sa.Column("key", sa.String(80), primary_key=True),
    sa.Column("parts", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("execution", sa.String(40), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

limits = sa.Table(
    "limits",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("concurrency", sa.Integer),
    sa.Column("rate", sa.Integer),
    sa.Column("per", sa.BigInteger),
    sa.Column("due", sa.BigInteger, nullable=False),
)
