"""What is on its way to jobs and back: a store below the home's artifacts, from which everything goes when it has arrived.

Rows travel in parcels: bytes under a name that nothing else has, so that each can be removed by itself, whatever else is on its way.
"""

import secrets
from collections.abc import Iterator
from datetime import datetime

from loopline.errors import NotFound
from loopline.storage.artifacts import ArtifactStore, open_artifacts

_PARCEL = b"loopline parcel\x00"
_SALT = 16  # bytes


def transit_url(artifacts_url: str) -> str:
    """Where what is on its way lies, for a home with these artifacts."""
    return f"{artifacts_url.rstrip('/')}/transit"


def parcelled(content: bytes) -> bytes:
    """The bytes as a parcel."""
    return _PARCEL + secrets.token_bytes(_SALT) + content


def unparcelled(content: bytes) -> bytes:
    """What `parcelled` was given."""
    return content[len(_PARCEL) + _SALT :]


def parcels(artifacts_url: str) -> Iterator[str]:
    """The digests of parcels: while no job runs, those of processes that were killed."""
    store = open_artifacts(transit_url(artifacts_url))
    return (digest for digest in store.digests() if _is_parcel(store, digest))


def older(artifacts_url: str, before: datetime) -> Iterator[str]:
    """The digests of what was put before that moment, UTC: nothing is on its way so long."""
    store = open_artifacts(transit_url(artifacts_url))
    for digest in store.digests():
        put = store.modified(digest)
        if put is not None and put < before:
            yield digest


def drop(artifacts_url: str, digests: Iterator[str]) -> None:
    """Remove these."""
    store = open_artifacts(transit_url(artifacts_url))
    for digest in list(digests):
        store.remove(digest)


def _is_parcel(store: ArtifactStore, digest: str) -> bool:
    try:
        return store.get(digest).startswith(_PARCEL)
    except NotFound:
        return False
