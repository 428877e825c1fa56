"""Manifests and models as they are read, verified and refused, without a process around it."""

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.models.manifest import read_manifest, write_manifest
from loopline.models.signing import create_key, load_public_keys, load_signing_key
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.serving import Serving
from loopline.storage.artifacts import open_artifacts


@pytest.fixture(scope="module")
def keys(home):
    return load_public_keys(home.path / "keys")


@pytest.fixture
def path(home):
    """The manifest's file; version 1, sequence 5."""
    home.deploy(1, sequence=5)
    return home.path / "manifests" / "flights.json"


@pytest.fixture
def loader(home):
    artifacts = open_artifacts(str(home.path / "artifacts"))
    clock = ReplayClock(datetime(2026, 5, 1, tzinfo=UTC))
    return Loader(Settings(home=home.path), artifacts, lambda: None, clock=clock, instance="s:1")


def test_what_did_not_change_is_not_read_again(loader, path, home):
    assert loader.changed()
    serving = loader.load(Serving())
    assert not loader.changed()
    assert loader.load(serving) is serving
    home.deploy(2, sequence=6)
    assert loader.changed()
    swapped = loader.load(serving)
    assert swapped.engine("late").deployment.version == 2
    assert serving.engine("late").deployment.version == 1
    path.unlink()
    assert loader.load(swapped).engines == swapped.engines


SPOILERS = {
    "cut short": lambda case: case.path.write_bytes(case.path.read_bytes()[:-20]),
    "altered": lambda case: case.path.write_bytes(case.path.read_bytes().replace(b'"sig":"ME', b'"sig":"MF')),
    "signed by a stranger": lambda case: write_manifest(case.path, case.manifest, create_key(case.empty)),
    "older than the one served": lambda case: case.home.deploy(2, sequence=4),
    "of another package": lambda case: case.home.deploy(2, sequence=6, package=case.home.packages[0][0]),
    "of a missing envelope": lambda case: case.home.deploy(2, sequence=6, package_envelope="sha256:" + "0" * 64),
    "with a decision that is none": lambda case: case.home.deploy(2, sequence=6, decision={"threshold": "none"}),
    "with an unknown view": lambda case: case.home.deploy(2, sequence=6, views=[{"kind": "magic"}]),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_a_manifest_that_is_wrong_is_refused_and_the_old_one_serves(loader, path, home, keys, tmp_path, spoil):
    serving = loader.load(Serving())
    spoil(SimpleNamespace(home=home, path=path, manifest=read_manifest(path, keys), empty=tmp_path))
    assert loader.load(serving).projects == serving.projects
    assert loader.refused == 1
    home.deploy(2, sequence=7)
    assert loader.load(serving).engine("late").deployment.version == 2


def test_a_manifest_of_another_project_or_with_a_taken_endpoint_is_refused(loader, path, home, keys):
    serving = loader.load(Serving())
    other = path.with_name("other.json")
    for project in ("flights", "other"):
        manifest = msgspec.structs.replace(read_manifest(path, keys), project=project, sequence=6)
        write_manifest(other, manifest, load_signing_key(home.path / "keys"))
        serving = loader.load(serving)
        assert list(serving.projects) == ["flights"]
    assert loader.refused == 2
    other.unlink()


def test_engines_made_one_after_the_other_give_ids_of_their_own(loader, path, home):
    serving, ids = loader.load(Serving()), set()
    for sequence in range(6, 9):
        home.deploy(1, sequence=sequence)
        serving = loader.load(serving)
        (prediction,) = serving.engine("late").predict(home.requests(1), principal=None)
        ids.add(prediction.prediction_id)
    assert len(ids) == 3
