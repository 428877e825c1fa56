import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loopline.errors import Corrupt, NotFound
from loopline.models.manifest import (
    PAYLOAD_TYPE,
    Deployment,
    Manifest,
    PackagedVersion,
    TokenGrant,
    read_manifest,
    write_manifest,
)
from loopline.models.signing import SigningKey, create_key, sign

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def manifest(sequence: int = 4) -> Manifest:
    deployment = Deployment(
        endpoint="late_arrival",
        model="late_arrival",
        version=3,
        package="sha256:" + "a" * 64,
        package_envelope="sha256:" + "b" * 64,
        decision={"threshold": 0.2},
        decision_version=2,
        views=[{"name": "delays", "over": ["3h"]}],
        key="flight_id",
        at="scheduled_departure",
        fallback=0.21,
        previous=PackagedVersion(version=2, package="sha256:" + "c" * 64, package_envelope="sha256:" + "d" * 64),
    )
    grant = TokenGrant(digest="e" * 64, principal="app", permissions=["predictions:create"], expires_at=AT)
    return Manifest(
        project="flights",
        sequence=sequence,
        created_at=AT,
        deployments=[deployment],
        tokens=[grant],
        revoked=["f" * 64],
    )


def test_what_is_written_is_read(tmp_path: Path, key: SigningKey):
    path = tmp_path / "manifests" / "flights.json"
    write_manifest(path, manifest(), key)
    assert read_manifest(path, key.public, at_least=4) == manifest()
    before = path.read_bytes()
    write_manifest(path, manifest(), key)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["flights.json"]


def test_an_older_manifest_is_refused(tmp_path: Path, key: SigningKey):
    write_manifest(tmp_path / "m.json", manifest(sequence=4), key)
    with pytest.raises(Corrupt) as caught:
        read_manifest(tmp_path / "m.json", key.public, at_least=5)
    assert caught.value.code == "manifest.rolled_back"


def test_a_tampered_manifest_is_refused(tmp_path: Path, key: SigningKey):
    path = tmp_path / "m.json"
    write_manifest(path, manifest(), key)
    envelope = json.loads(path.read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b"predictions:create", b"loop:apply________")
    path.write_text(json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}))
    with pytest.raises(Corrupt) as caught:
        read_manifest(path, key.public)
    assert caught.value.code == "signature.invalid"


def test_another_key_another_payload_and_no_file_are_refused(tmp_path: Path, key: SigningKey):
    path = tmp_path / "m.json"
    with pytest.raises(NotFound):
        read_manifest(path, key.public)
    write_manifest(path, manifest(), create_key(tmp_path / "other"))
    with pytest.raises(Corrupt) as caught:
        read_manifest(path, key.public)
    assert caught.value.code == "signature.unknown_key"
    path.write_bytes(sign(key, PAYLOAD_TYPE, b'{"project": "flights"}'))
    with pytest.raises(Corrupt) as caught:
        read_manifest(path, key.public)
    assert caught.value.code == "manifest.unreadable"


def test_half_a_manifest_is_refused(tmp_path: Path, key: SigningKey):
    path = tmp_path / "m.json"
    write_manifest(path, manifest(), key)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Corrupt):
        read_manifest(path, key.public)
