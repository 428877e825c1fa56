"""The suite of steps that are handed over, on SQLite and on PostgreSQL."""

import loopline.pipelines.healing.store
import loopline.pipelines.store  # noqa: F401 - their tables are part of the database that the tests get
from loopline.testing.handing_over import HandingOverSuite


class TestHandingOver(HandingOverSuite):
    pass
