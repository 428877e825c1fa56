"""What external models are held to."""

import sqlalchemy as sa
from alembic import op

from loopline.storage.columns import UtcTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "reference",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("profile", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("project", "model", name=op.f("pk_reference")),
    )
