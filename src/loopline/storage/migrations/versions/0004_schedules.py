"""Schedules."""

import sqlalchemy as sa
from alembic import op

from loopline.storage.columns import Json, UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "hook",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("earlier", sa.Text(), nullable=True),
        sa.Column("earlier_until", UtcTime(), nullable=True),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", name=op.f("pk_hook")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("declared", Json(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("declared_at", UtcTime(), nullable=False),
        sa.Column("passed", UtcTime(), nullable=False),
        sa.Column("next_at", UtcTime(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    op.create_index(op.f("ix_schedule_next_at"), "schedule", ["next_at"], unique=False)
    op.create_index(op.f("ix_schedule_project"), "schedule", ["project"], unique=False)
    op.create_table(
        "signal",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject", Json(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("taken_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signal")),
    )
    op.create_index(op.f("ix_signal_project"), "signal", ["project"], unique=False)
    op.create_index(op.f("ix_signal_taken_at"), "signal", ["taken_at"], unique=False)
    op.create_table(
        "tick",
        sa.Column("schedule", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("fire_at", UtcTime(), nullable=False),
        sa.Column("window_start", UtcTime(), nullable=True),
        sa.Column("window_end", UtcTime(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("execution", sa.String(length=80), nullable=True),
        sa.Column("decided_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "key", name=op.f("pk_tick")),
    )
    op.create_index(op.f("ix_tick_execution"), "tick", ["execution"], unique=False)
    op.create_index(op.f("ix_tick_fire_at"), "tick", ["fire_at"], unique=False)
