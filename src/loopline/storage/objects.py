"""Object storage (S3, GCS, Azure) and memory, through obstore."""

from collections.abc import Iterator
from contextlib import suppress

import obstore
from obstore.store import from_url

from loopline.errors import InvalidInput


class Objects:
    """Named bytes under one URL. Credentials and endpoints come from the environment, as each cloud's own tools read them.

    Raises what obstore raises, all of it below `FAILURES`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._store = from_url(url)
        except FAILURES as problem:
            raise InvalidInput(
                "storage.url_invalid",
                f"{url!r} does not name an object store: {problem}",
                remedy="Use e.g. s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://.",
            ) from problem

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there, whole or not at all."""
        obstore.put(self._store, name, content)

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

    def names(self) -> Iterator[str]:
        """Every name, in the store's order."""
        for page in obstore.list(self._store):
            yield from (str(found["path"]) for found in page)


FAILURES = (obstore.exceptions.BaseError, OSError, ValueError)
