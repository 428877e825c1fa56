"""What suites of pipelines stand on: a database that has every table."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from loopline.storage.database import Database


class OpenedDatabase:
    """Opens what the fixture `database_url` names, for each test."""

    @pytest.fixture
    def database(self, database_url: str) -> Iterator[Database]:
        with closing(Database.open(database_url, durable=False)) as opened:
            yield opened
