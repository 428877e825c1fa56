"""Plan and apply: what a changed declaration would change, before it does."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import Conflict
from loopline.ledger import chain
from loopline.ledger.change import Change, differences
from loopline.loop import store
from loopline.loop.asking import needed
from loopline.loop.breaks import Break, breaks
from loopline.loop.consumer import consumers_in, registered
from loopline.loop.declare import Loop
from loopline.loop.deployment import champion_views
from loopline.loop.describe import describe
from loopline.loop.safeguards import loosened, settle
from loopline.storage.database import Database, Transaction
from loopline.values import canonical_json, digest


class Plan(msgspec.Struct, frozen=True):
    """All changes; what they touch: models and endpoints that read a changed or removed source; and what they break, column by
    column: views, models, endpoints and registered consumers. `loosened` are approvals that it takes away, which takes one.
    """

    loop: str
    digest: str
    changes: list[Change]
    touched: list[str]
    breaks: list[Break] = []
    loosened: list[str] = []

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return not self.changes


def plan(database: Database, loop: Loop) -> Plan:
    """Compare the declaration with the last one applied. Changes nothing."""
    with database.reading() as tx:
        return _plan(tx, loop)


def apply(
    database: Database, loop: Loop, *, actor: str, at: datetime, accept_breaking: bool = False, replayed: bool = False
) -> Plan:
    """Make the declaration the one in force, with a ledger entry; gives what changed. Applying it again changes nothing.

    Raises `Conflict` "plan.breaking" where it breaks what someone reads, unless that is accepted, and "approval.asked_for" where it
    takes approvals away and nobody with their role has approved of that: then this is asked for. A replay has nobody to ask.
    """
    with database.transaction() as tx:
        made = _plan(tx, loop)
        if made.empty:
            return made
        if made.breaks and not accept_breaking:
            raise _breaking(made)
        found = [] if replayed else loosened(tx, loop.name, _declaration(loop))
        waiting = settle(tx, loop.name, _declaration(loop), found, actor=actor, at=at)
        if not waiting:
            _put(tx, loop, made, actor, at)
    if waiting:
        raise needed(" and ".join(one.sentence for one in found), waiting[0])
    return made


def _put(tx: Transaction, loop: Loop, made: Plan, actor: str, at: datetime) -> None:
    last = store.latest_applied(tx, loop.name)
    sequence = (last["sequence"] if last else 0) + 1
    values = {"loop": loop.name, "sequence": sequence, "digest": made.digest, "at": at, "actor": actor}
    store.add_applied(tx, {**values, "declaration": _declaration(loop)})
    body: dict[str, Any] = {"digest": made.digest, "changes": msgspec.to_builtins(made.changes)}
    body |= {"breaks": [one.sentence for one in made.breaks]} if made.breaks else {}
    chain.append(
        tx,
        project=loop.name,
        at=at,
        kind="loop.applied",
        actor=actor,
        subject=loop.name,
        body=body,
        key=f"applied:{sequence}",
    )


def _breaking(made: Plan) -> Conflict:
    return Conflict(
        "plan.breaking",
        "; ".join(one.sentence for one in made.breaks),
        remedy="Agree with those who read it, then apply with --accept-breaking. `loopline consumers` names their owners.",
        breaks=[one.sentence for one in made.breaks],
    )


_NOTHING: dict[str, Any] = {"sources": {}, "models": {}, "operations": {}}


def _plan(tx: Transaction, loop: Loop) -> Plan:
    last = store.latest_applied(tx, loop.name)
    declared = _declaration(loop)
    before = last["declaration"] if last else _NOTHING
    changes = differences(before, declared)
    touched = _touched(changes, before, declared)
    broken, lost = _breaks(tx, loop, before, declared), loosened(tx, loop.name, declared)
    return Plan(loop.name, digest(canonical_json(declared)), changes, touched, broken, [one.sentence for one in lost])


def _breaks(tx: Transaction, loop: Loop, before: dict[str, Any], declared: dict[str, Any]) -> list[Break]:
    """What the declaration breaks, for itself, for what it serves, and for consumers that it or another loop registers."""
    served = {
        name: champion_views(tx, loop.name, name, operation.environments) for name, operation in loop.operations.items()
    }
    elsewhere = [one for owner, one in registered(tx) if owner != loop.name]
    consumers = [*consumers_in(declared), *elsewhere]
    return breaks(before, declared, served=served, consumers=consumers)


def _declaration(loop: Loop) -> dict[str, Any]:
    """As it reads back from the database, so that comparing is comparing JSON."""
    read: dict[str, Any] = msgspec.json.decode(canonical_json(describe(loop)))
    return read


def _touched(changes: list[Change], before: dict[str, Any], declared: dict[str, Any]) -> list[str]:
    """Models that read a source which is changed, or read one that is removed, what those models serve, and decisions on other costs."""
    sources = [change for change in changes if change.path.startswith("sources.")]
    removed = [change for change in sources if change.kind == "remove" and change.path.count(".") == 1]
    # Which column breaks whom is told by `breaks`; a column that is added touches nobody.
    changed = [change for change in sources if change.path.count(".") > 1 and change.path.count(".columns.") == 0]
    touched = [*_readers(before, removed), *_readers(declared, changed), *_decided_anew(changes, before)]
    return list(dict.fromkeys(touched))


def _decided_anew(changes: list[Change], before: dict[str, Any]) -> Iterator[str]:
    """Operations whose costs change: their champion stays, and its decision is fitted anew."""
    for name in before["operations"]:
        if any(change.path.startswith(f"operations.{name}.decide") for change in changes):
            yield f"decision of model {name} is fitted anew for its champion"


def _readers(said: dict[str, Any], sources: list[Change]) -> Iterator[str]:
    tables = {f"{said['loop']}.{change.path.split('.')[1]}" for change in sources} if sources else set()
    for name, model in said["models"].items():
        for table in sorted(_read(model) & tables):
            yield f"model {name} reads {table}"
            if name in said["operations"]:
                yield f"endpoint {name} serves model {name}"


def _read(model: dict[str, Any]) -> set[str]:
    """The tables that a model reads."""
    return {model["on"], model["label"]["table"], *(view["table"] for view in model["views"])}
