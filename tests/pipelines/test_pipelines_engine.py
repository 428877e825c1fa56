"""The engine's suite on SQLite and on PostgreSQL."""

import loopline.pipelines.healing.store
import loopline.pipelines.store  # noqa: F401 - their tables are part of the database that the tests get
from loopline.testing.pipelines import PipelineSuite


class TestPipelines(PipelineSuite):
    pass
