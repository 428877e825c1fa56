"""Pipeline files as users write them, put in force on both databases."""

import importlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loopline.pipelines import store  # noqa: F401 - the tables of executions
from loopline.pipelines.applied import applied
from loopline.pipelines.applied.applied import PipelinePlan
from loopline.pipelines.applied.declared import declared
from loopline.storage.artifacts import ArtifactStore, open_artifacts
from loopline.storage.database import Database
from loopline.tables.tables import Tables

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)

FILE = """
import loopline as ll


@ll.step
def read(window: ll.Window, region: str) -> str:
    return f"{region} until {window.end:%H:%M}"


@ll.pipeline(schedule=[ll.interval("1h", params={"region": "north"}), ll.on_table("shop.orders", params={"region": "south"})])
def sales(window: ll.Window, region: str):
    return read(window, region)


@ll.pipeline(schedule=ll.on_webhook("go"))
def note(text: str = "-"):
    return text
"""


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return open_artifacts(str(tmp_path / "artifacts"), durable=False)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(str(tmp_path / "tables"), durable=False)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a pipeline file; written again, it is imported anew, as by a new process."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(text: str, name: str = "pipes") -> Path:
        path = tmp_path / f"{name}_of_{tmp_path.name.replace('-', '_')}.py"
        path.write_text(text)
        sys.modules.pop(path.stem, None)
        importlib.invalidate_caches()
        for kept in (tmp_path / "__pycache__").glob("*"):  # two writes within a second look the same
            kept.unlink()
        return path

    return write


@pytest.fixture
def apply(database: Database, artifacts: ArtifactStore, tables: Tables) -> Callable[..., PipelinePlan]:
    """Puts a file in force in project `shop`."""

    def put(path: Path, at: datetime = AT) -> PipelinePlan:
        said = declared(path, artifacts, at=at)
        with database.transaction() as tx:
            return applied.apply(tx, said, project="shop", at=at, actor="ann", tables=tables)

    return put
