"""A home on PostgreSQL whose tables and artifacts are in an object store does what one on this machine does."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from loopline.testing.postgres import scratch_database

_spec = spec_from_file_location("operated", Path(__file__).with_name("operated.py"))
operated = module_from_spec(_spec)
_spec.loader.exec_module(operated)


@pytest.fixture
def remote(postgres_url, bucket, tmp_path):
    with scratch_database(postgres_url, "loopline_remote") as url:
        yield operated.settings_in(
            tmp_path / "remote",
            LOOPLINE_DATABASE_URL=url,
            LOOPLINE_TABLES_URL=f"{bucket}/tables",
            LOOPLINE_ARTIFACTS_URL=f"{bucket}/artifacts",
        )


def test_ingestion_training_and_scoring_come_to_the_same(remote, tmp_path: Path, s3, bucket):
    local = operated.settings_in(tmp_path / "local")
    for settings in (local, remote):
        operated.operate(settings)
    assert operated.held(remote).ledgers == operated.held(local).ledgers
    assert operated.held(remote).tables == operated.held(local).tables
    scored = operated.score(remote, "scores.parcels")
    assert scored.height > 400
    assert scored.equals(operated.score(local, "scores.parcels"))
    assert not (remote.home / "tables").exists()
    assert not (remote.home / "artifacts").exists()
    assert {path.name for path in (s3.folder / bucket.removeprefix("s3://")).iterdir()} == {"tables", "artifacts"}
