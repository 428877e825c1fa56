"""The artifact suite on local files, memory and an S3 server, and what a local store survives."""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

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


class Bucket(BaseHTTPRequestHandler):
    """As much of S3's protocol as artifacts need: PUT, GET, HEAD and ListObjectsV2 of one bucket."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def do_PUT(self):
        self.objects[self.key()] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            self.answer(200, self.listing(asked.get("prefix", [""])[0]))
        elif self.key() in self.objects:
            self.answer(200, self.objects[self.key()])
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def key(self):
        return unquote(urlsplit(self.path).path).split("/", 2)[2]

    def listing(self, prefix):
        rows = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(content)}</Size><ETag>x</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def bucket(monkeypatch):
    handler = type("EmptyBucket", (Bucket,), {"objects": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield handler.objects
    server.shutdown()
    server.server_close()


class TestS3Artifacts(ArtifactSuite):
    @pytest.fixture
    def artifacts(self, bucket):  # noqa: ARG002 - its server must run
        return open_artifacts("s3://models/a/prefix")

    def test_objects_stand_under_the_prefix(self, artifacts, bucket):
        digest = artifacts.put(b"one").removeprefix("sha256:")
        assert bucket == {f"a/prefix/{digest[:2]}/{digest[2:]}": b"one"}


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
