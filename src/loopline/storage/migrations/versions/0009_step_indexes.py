"""Indexes of steps that nobody takes for that of their key.

Before a table was analyzed, PostgreSQL takes any index that begins with the execution for as good as the key's, and then reads all steps of
the execution to find one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.drop_index("ix_step_execution_name", table_name="step")
    op.drop_index("ix_step_execution_parent_element", table_name="step")
    op.create_index(op.f("ix_step_name_execution"), "step", ["name", "execution"])
    elements = sa.text("parent is not null")
    op.create_index(
        "ix_step_elements",
        "step",
        ["execution", "parent", "element"],
        sqlite_where=elements,
        postgresql_where=elements,
    )
