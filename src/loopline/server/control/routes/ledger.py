"""The ledger of each project and of access, page by page, and whether it is whole."""

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery

from loopline.access.permissions import Permission
from loopline.errors import InvalidInput
from loopline.ledger import chain
from loopline.ledger.chain import Entry, Head
from loopline.loop import access_changes
from loopline.loop.resources import Resources
from loopline.server.control.inputs import Home, Limit, Sequence


class LedgerPage(msgspec.Struct, frozen=True):
    """Entries, oldest first. `next` is the `after` of the page that follows, None at the end; `head` is where the chain ends."""

    entries: list[Entry]
    next: int | None
    head: Head


@get("/projects/{project:str}/ledger", permission=Permission.LEDGER_READ, sync_to_thread=True)
def read_ledger(
    home: Home,
    project: FromPath[str],
    after: Sequence = 0,
    limit: Limit = 100,
    kind: FromQuery[str | None] = None,
    subject: FromQuery[str | None] = None,
) -> LedgerPage:
    """The entries after number `after`, of one kind or about one subject if asked."""
    return _page(home, project, after, limit, kind, subject)


@get("/projects/{project:str}/ledger/verify", permission=Permission.LEDGER_READ, sync_to_thread=True)
def verify_ledger(home: Home, project: FromPath[str], seq: Sequence = 0, digest: FromQuery[str | None] = None) -> Head:
    """Compute every digest anew. With `seq` and `digest` of a head noted earlier, a chain cut since then is found too."""
    with home.database.reading() as tx:
        return chain.verify(tx, project, anchor=_anchor(seq, digest))


@get("/access/ledger", permission=Permission.LEDGER_READ, sync_to_thread=True)
def read_access_ledger(home: Home, after: Sequence = 0, limit: Limit = 100) -> LedgerPage:
    """Who was given and who lost access."""
    return _page(home, access_changes.LEDGER, after, limit, None, None)


def _page(home: Resources, project: str, after: int, limit: int, kind: str | None, subject: str | None) -> LedgerPage:
    with home.database.reading() as tx:
        found = chain.entries(tx, project, after=after, limit=limit + 1, kind=kind, subject=subject)
        head = chain.head(tx, project)
    page = found[:limit]
    return LedgerPage(page, page[-1].seq if len(found) > limit else None, head)


def _anchor(seq: int, digest: str | None) -> Head | None:
    if (seq == 0) != (digest is None):
        raise InvalidInput(
            "ledger.half_anchor", "an earlier head is its number and its digest", remedy="Give both `seq` and `digest`."
        )
    return None if digest is None else Head(seq, digest)


HANDLERS = (read_ledger, verify_ledger, read_access_ledger)
