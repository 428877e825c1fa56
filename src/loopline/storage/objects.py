"""Object storage (S3, GCS, Azure) and memory, through obstore."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import obstore
from obstore.store import from_url

from loopline.errors import InvalidInput

# Names are removed one by one; not every server that speaks S3 has a call for many.
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"disable_bulk_delete": True}}


class Mark(NamedTuple):
    """What tells one content of a name from another; `size` in bytes."""

    tag: str
    size: int


class Objects:
    """Named bytes under one URL. Credentials and endpoints come from the environment, as each cloud's own tools read them.

    Raises what obstore raises, all of it below `FAILURES`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._store = from_url(url, **_OPTIONS.get(url.partition("://")[0], {}))
        except FAILURES as problem:
            raise InvalidInput(
                "storage.url_invalid",
                f"{url!r} does not name an object store: {problem}",
                remedy="Use e.g. s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://.",
            ) from problem

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there, whole or not at all."""
        obstore.put(self._store, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Put `content` there unless there is such a name; says whether this call did. Exactly one of several at once does.

        Where the answer was lost on its way, what the call itself did may look as another's: look who wrote it.
        """
        try:
            obstore.put(self._store, name, content, mode="create", use_multipart=False)
        except obstore.exceptions.AlreadyExistsError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """The bytes, or None where there is no such name."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether there is such a name."""
        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Delete it; what is not there is passed over."""
        with suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def mark(self, name: str) -> Mark | None:
        """What changes with the content: its tag and size; None where there is no such name."""
        try:
            found = obstore.head(self._store, name)
        except FileNotFoundError:
            return None
        return Mark(str(found["e_tag"] or found["last_modified"]), found["size"])

    def modified(self, name: str) -> datetime | None:
        """When it was written last, UTC; None where there is no such name."""
        try:
            return obstore.head(self._store, name)["last_modified"]
        except FileNotFoundError:
            return None

    def names(self) -> Iterator[str]:
        """Every name, in the store's order."""
        for page in obstore.list(self._store):
            yield from (str(found["path"]) for found in page)

    def folders(self) -> list[str]:
        """The first parts of names that have more of them."""
        return [str(folder) for folder in obstore.list_with_delimiter(self._store)["common_prefixes"]]


FAILURES = (obstore.exceptions.BaseError, OSError, ValueError)
