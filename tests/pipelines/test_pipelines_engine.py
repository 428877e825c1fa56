"""The engine's suite on SQLite and on PostgreSQL."""

import loopline.pipelines.store  # noqa: F401 - its tables are part of the database that the tests get
from loopline.testing.pipelines import PipelineSuite


class TestPipelines(PipelineSuite):
    pass
