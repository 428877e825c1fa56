"""Artifacts: bytes that are named by their content. Written once, checked whenever they are read."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from loopline.errors import Corrupt, InvalidInput, NotFound, Unavailable
from loopline.storage.files import Files
from loopline.storage.objects import FAILURES, Objects
from loopline.values import digest as digest_of

_DIGEST = re.compile(r"sha256:([0-9a-f]{2})([0-9a-f]{62})")
_NAME = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})")
_REMOTE = {"memory", "s3", "gs", "az"}

Result = TypeVar("Result")


class ArtifactStore(Protocol):
    """Where artifacts are kept. Safe to share between threads, and by many processes on one folder or bucket.

    A digest is `sha256:` and 64 hex digits; another text raises `InvalidInput` "artifact.digest_invalid". A store that does not
    answer raises `Unavailable` "artifact.store_unavailable".
    """

    def put(self, content: bytes) -> str:
        """Keep the bytes and return their digest. They are durable on return; putting them again changes nothing."""

    def get(self, digest: str) -> bytes:
        """The bytes, checked. Raises `NotFound` "artifact.not_found" and `Corrupt` "artifact.corrupt"."""

    def exists(self, digest: str) -> bool:
        """Whether the artifact is kept here; it is not read."""

    def remove(self, digest: str) -> None:
        """Delete the bytes; what is not there is passed over. References have to be gone before."""

    def digests(self) -> Iterator[str]:
        """The digest of every artifact kept here."""

    def modified(self, digest: str) -> datetime | None:
        """When the bytes were put last, UTC, by the store's clock; None where they are not kept here."""


class Blobs(Protocol):
    """Bytes by name: all that a kind of storage has to provide. Content addressing stands above it, once."""

    def write(self, name: str, content: bytes) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def exists(self, name: str) -> bool: ...
    def remove(self, name: str) -> None: ...
    def names(self) -> Iterator[str]: ...
    def modified(self, name: str) -> datetime | None: ...


def open_artifacts(url: str, *, durable: bool = True) -> ArtifactStore:
    """The store at a local path, `file:///path`, `s3://`, `gs://`, `az://` or `memory://` (empty, and gone with the process).

    `durable=False` leaves local files to the operating system to sync. Raises `InvalidInput` "storage.url_invalid".
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return ContentAddressed(Files(Path(url), durable=durable))
    if scheme == "file" and rest.startswith("/"):
        return ContentAddressed(Files(Path(rest), durable=durable))
    if scheme in _REMOTE:
        return ContentAddressed(Objects(url))
    raise InvalidInput(
        "storage.url_invalid",
        f"artifacts cannot be kept at {url!r}",
        remedy="Use a path, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
    )


class ContentAddressed:
    """An `ArtifactStore` over any `Blobs`: a folder for the first two hex digits, a file for the rest."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def put(self, content: bytes) -> str:
        """Always writes: what has the name already may have been damaged since."""
        digest = digest_of(content)
        _reach(lambda: self._blobs.write(_name(digest), content))
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes whose digest this is."""
        name = _name(digest)
        content = _reach(lambda: self._blobs.read(name))
        if content is None:
            raise NotFound(
                "artifact.not_found",
                f"there is no artifact {digest}",
                remedy="It was not uploaded to this store, or was deleted. Check LOOPLINE_ARTIFACTS_URL.",
            )
        if digest_of(content) != digest:
            raise Corrupt(
                "artifact.corrupt",
                f"the artifact {digest} was damaged: its content has another digest",
                remedy="Restore it from a backup, or put the original bytes again.",
            )
        return content

    def exists(self, digest: str) -> bool:
        """Whether there is a file of this name."""
        name = _name(digest)
        return _reach(lambda: self._blobs.exists(name))

    def remove(self, digest: str) -> None:
        """Delete the file of this name."""
        name = _name(digest)
        _reach(lambda: self._blobs.remove(name))

    def modified(self, digest: str) -> datetime | None:
        """When the file was written."""
        name = _name(digest)
        return _reach(lambda: self._blobs.modified(name))

    def digests(self) -> Iterator[str]:
        """What the names say, skipping names that are no digests."""
        for found in map(_NAME.fullmatch, _reach(lambda: list(self._blobs.names()))):
            if found:
                yield f"sha256:{found[1]}{found[2]}"


def _name(digest: str) -> str:
    parts = _DIGEST.fullmatch(digest)
    if parts is None:
        raise InvalidInput(
            "artifact.digest_invalid",
            f"{digest!r} is not a digest",
            remedy="A digest is sha256: and 64 hex digits in lower case.",
        )
    return f"{parts[1]}/{parts[2]}"


def _reach(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except FAILURES as problem:
        raise Unavailable(
            "artifact.store_unavailable",
            f"the artifact store does not answer: {problem}",
            remedy="Check LOOPLINE_ARTIFACTS_URL, the credentials, and the space that is left.",
        ) from problem
