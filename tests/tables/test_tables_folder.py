"""The folder suite on a local disk and in an object store."""

import pytest

from loopline.errors import Unavailable
from loopline.tables.local_folder import LocalFolder
from loopline.tables.remote_folder import RemoteFolder
from loopline.testing.folder import FolderSuite


class TestLocalFolder(FolderSuite):
    @pytest.fixture
    def folder(self, tmp_path):
        made = LocalFolder(tmp_path / "table", durable=False)
        made.make("_delta_log")
        return made


class TestRemoteFolder(FolderSuite):
    @pytest.fixture
    def folder(self, bucket, tmp_path):
        return RemoteFolder(f"{bucket}/a/table", lock=tmp_path / "locks" / "table.lock")


def test_a_store_that_cannot_be_reached_says_what_to_check(bucket, tmp_path):
    folder = RemoteFolder(f"{bucket}-absent/a", lock=tmp_path / "lock")
    with pytest.raises(Unavailable) as raised:
        folder.create("x", b"")
    assert raised.value.code == "table.write_failed"
    with pytest.raises(Unavailable) as raised:
        folder.names()
    assert raised.value.code == "table.store_unavailable"
