"""The online store's protocol: small values by key, read at the request's pace."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from loopline.errors import InvalidInput
from loopline.storage.lmdb import LmdbKeyValues


class KeyValues(Protocol):
    """A sorted map from bytes to bytes. Safe to share between threads; open it anew after a fork.

    Keys have 1 to 511 bytes; another key raises `InvalidInput` "key_values.key_invalid" and nothing is written.
    """

    def get(self, key: bytes) -> bytes | None:
        """The value of one key, or None."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys in their order, all as of one moment."""

    def put_many(self, values: Mapping[bytes, bytes | None]) -> None:
        """Set the keys, deleting those with None: all of them or none, durable on return."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin with `prefix`, sorted by their bytes, with their values.

        A long scan is not of one moment: it sees each key that stays throughout, and may see what is written meanwhile.
        """

    def forget(self) -> None:
        """Write every record anew and overwrite what deleted and replaced ones left in the files. Others may go on reading."""

    def close(self) -> None:
        """Let go of it; the last one to let go in this process closes the files."""


def open_key_values(url: str | Path, *, read_only: bool = False, durable: bool = True) -> KeyValues:
    """The store at a folder or `lmdb:///folder`; a writer makes the folder.

    `durable=False` lets a power cut lose the latest writes, in order (a killed process still loses nothing). Raises
    `InvalidInput` for another URL and `NotFound` "key_values.not_found" where a reader finds no store.
    """
    scheme, separator, rest = str(url).partition("://")
    if separator and (scheme != "lmdb" or not rest.startswith("/")):
        raise InvalidInput(
            "storage.url_invalid",
            f"there is no driver for the online store {str(url)!r}",
            remedy="Use a folder or lmdb:///folder.",
        )
    return LmdbKeyValues(Path(rest if separator else url), read_only=read_only, durable=durable)
