"""What every artifact store must hold. Subclass `ArtifactSuite` and give it a fixture `artifacts`."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from loopline.clock import SystemClock
from loopline.errors import InvalidInput, NotFound
from loopline.storage.artifacts import ArtifactStore


def sha256(content: bytes) -> str:
    """The digest of the bytes, reckoned apart from the store that is tested."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class ArtifactSuite:
    """Content addressing, absent and impossible digests, many threads. `artifacts` is an empty store for each test."""

    @pytest.mark.parametrize("content", [b"", b"\x00", "é".encode(), bytes(range(256)) * 20_000], ids=len)
    def test_bytes_come_back_by_their_digest(self, artifacts: ArtifactStore, content: bytes) -> None:
        digest = artifacts.put(content)
        assert digest == sha256(content)
        assert artifacts.exists(digest)
        got = artifacts.get(digest)
        assert got == content
        assert type(got) is bytes

    def test_the_time_of_writing_is_told(self, artifacts: ArtifactStore) -> None:
        before = SystemClock().now()
        written = artifacts.modified(artifacts.put(b"one"))
        assert written is not None
        assert abs(written - before) < timedelta(minutes=1)
        assert artifacts.modified(sha256(b"absent")) is None

    def test_putting_again_changes_nothing(self, artifacts: ArtifactStore) -> None:
        assert artifacts.put(b"one") == artifacts.put(b"one")
        assert list(artifacts.digests()) == [sha256(b"one")]

    def test_digests_lists_all(self, artifacts: ArtifactStore) -> None:
        contents = [str(number).encode() for number in range(40)]
        for content in contents:
            artifacts.put(content)
        assert sorted(artifacts.digests()) == sorted(map(sha256, contents))

    def test_an_empty_store_lists_nothing(self, artifacts: ArtifactStore) -> None:
        assert list(artifacts.digests()) == []

    def test_what_is_not_there_is_not_found(self, artifacts: ArtifactStore) -> None:
        absent = sha256(b"absent")
        assert not artifacts.exists(absent)
        with pytest.raises(NotFound) as raised:
            artifacts.get(absent)
        assert raised.value.code == "artifact.not_found"

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            "sha256:",
            "../../etc/passwd",
            "sha256:../../../etc/passwd",
            "sha256:" + "/" * 64,
            "sha256:" + "..%2f" * 12 + "aaaa",
            "sha256:" + "A" * 64,
            "sha256:" + "a" * 63,
            "sha256:" + "a" * 65,
            "sha256:" + "a" * 64 + "\n",
            "sha512:" + "a" * 64,
            "a" * 64,
            "sha256:" + "\N{ARABIC-INDIC DIGIT ONE}" * 64,
        ],
    )
    def test_a_text_that_is_no_digest_is_refused(self, artifacts: ArtifactStore, wrong: str) -> None:
        for call in (artifacts.get, artifacts.exists):
            with pytest.raises(InvalidInput) as raised:
                call(wrong)
            assert raised.value.code == "artifact.digest_invalid"

    def test_many_threads_may_put_and_get_the_same(self, artifacts: ArtifactStore) -> None:
        contents = [bytes([number]) * 5000 for number in range(4)]

        def put_and_get(number: int) -> bool:
            content = contents[number % 4]
            return artifacts.get(artifacts.put(content)) == content

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(put_and_get, range(64)))
        assert sorted(artifacts.digests()) == sorted(map(sha256, contents))
