"""The artifact suite on local files, memory and an S3 server, and what a local store survives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopline.errors import Corrupt, InvalidInput, Unavailable
from loopline.storage.artifacts import open_artifacts
from loopline.storage.files import write_file
from loopline.testing.artifacts import ArtifactSuite, sha256


class TestLocalArtifacts(ArtifactSuite):
    @pytest.fixture
    def artifacts(self, tmp_path):
        return open_artifacts(str(tmp_path / "not" / "yet" / "there"))


class TestLocalArtifactsByUrl(ArtifactSuite):
    @pytest.fixture
    def artifacts(self, tmp_path):
        return open_artifacts(f"file://{tmp_path}", durable=False)


class TestMemoryArtifacts(ArtifactSuite):
    @pytest.fixture
    def artifacts(self):
        return open_artifacts("memory://")


class TestS3Artifacts(ArtifactSuite):
    @pytest.fixture
    def artifacts(self, bucket):
        return open_artifacts(f"{bucket}/a/prefix")

    def test_objects_stand_under_the_prefix(self, artifacts, bucket, s3):
        digest = artifacts.put(b"one").removeprefix("sha256:")
        path = s3.folder / bucket.removeprefix("s3://") / "a/prefix" / digest[:2] / digest[2:]
        assert path.read_bytes() == b"one"

    def test_damage_is_found(self, artifacts, bucket, s3):
        digest = artifacts.put(b"one")
        path = s3.folder / bucket.removeprefix("s3://") / "a/prefix" / digest[7:9] / digest[9:]
        path.write_bytes(b"two")
        with pytest.raises(Corrupt):
            artifacts.get(digest)

    def test_what_was_removed_is_gone(self, artifacts):
        digest = artifacts.put(b"one")
        artifacts.remove(digest)
        artifacts.remove(digest)
        assert not artifacts.exists(digest)


def test_a_bucket_that_is_not_there_says_so(bucket):
    with pytest.raises(Unavailable) as raised:
        open_artifacts(f"{bucket}-absent").put(b"one")
    assert raised.value.code == "artifact.store_unavailable"


def file_of(folder, digest):
    return folder / digest[7:9] / digest[9:]


@pytest.mark.parametrize("damage", [b"", b"on", b"onf", b"one "])
def test_damage_is_found_and_mended_by_putting_again(tmp_path, damage):
    artifacts = open_artifacts(str(tmp_path))
    digest = artifacts.put(b"one")
    file_of(tmp_path, digest).write_bytes(damage)
    with pytest.raises(Corrupt) as raised:
        artifacts.get(digest)
    assert raised.value.code == "artifact.corrupt"
    artifacts.put(b"one")
    assert artifacts.get(digest) == b"one"


def test_a_link_out_of_the_store_gives_only_what_has_the_digest(tmp_path):
    artifacts = open_artifacts(str(tmp_path / "store"))
    digest = artifacts.put(b"one")
    (tmp_path / "secret").write_bytes(b"secret")
    file_of(tmp_path / "store", digest).unlink()
    file_of(tmp_path / "store", digest).symlink_to(tmp_path / "secret")
    with pytest.raises(Corrupt):
        artifacts.get(digest)


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable) as raised:
        open_artifacts(str(tmp_path / "file" / "store")).put(b"one")
    assert raised.value.code == "artifact.store_unavailable"


@pytest.mark.parametrize("url", ["http://host/x", "file://host/x", "ftp://x", "://x", "s3://"])
def test_urls_that_name_no_store_are_refused(url):
    with pytest.raises(InvalidInput) as raised:
        open_artifacts(url)
    assert raised.value.code == "storage.url_invalid"


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_file(path, b"old")
    with pytest.raises(TypeError):
        write_file(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def calls(monkeypatch):
    """What was synced and renamed, in order; the real calls are made."""
    made = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(handle):
        made.append(("sync", Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def recording_replace(source, target):
        made.append(("rename", Path(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    return made


def test_a_durable_file_is_synced_before_it_has_its_name_and_its_folders_after(tmp_path, calls):
    path = tmp_path / "new" / "folder" / "file"
    write_file(path, b"content")
    (_, pending) = calls.pop(2)
    assert pending.parent == path.parent
    assert pending != path
    assert calls == [("sync", tmp_path), ("sync", tmp_path / "new"), ("rename", path), ("sync", path.parent)]


def test_a_file_that_need_not_last_is_not_synced(tmp_path, calls):
    write_file(tmp_path / "new" / "file", b"content", durable=False)
    assert calls == [("rename", tmp_path / "new" / "file")]


_PUT = """
import sys
from loopline.storage.artifacts import open_artifacts
artifacts = open_artifacts(sys.argv[1])
for number in range(10**9):
    print(artifacts.put(str(number).encode() * 1000), flush=True)
"""


def test_a_killed_writer_leaves_whole_artifacts_only(tmp_path):
    for acknowledgements in (1, 40):
        with subprocess.Popen([sys.executable, "-c", _PUT, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
            told = {writer.stdout.readline().strip() for _ in range(acknowledgements)}
            os.kill(writer.pid, signal.SIGKILL)
        artifacts = open_artifacts(str(tmp_path))
        kept = list(artifacts.digests())
        assert told <= set(kept)
        assert [sha256(artifacts.get(digest)) for digest in kept] == kept
