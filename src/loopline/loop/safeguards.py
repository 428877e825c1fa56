"""What a loop file would take away from the approvals in force. Taking them away takes one, by the same role."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from loopline.gates.approval import Approval, Subject
from loopline.gates.approval_terms import ApprovalTerms
from loopline.gates.environment import ONLY_PRODUCTION
from loopline.loop import store
from loopline.loop.asking import ask_for, is_given, use_word
from loopline.loop.release import declared_route
from loopline.storage.database import Transaction

Said = Mapping[str, Any]
PLACE = "approvals"


class Loosened(msgspec.Struct, frozen=True):
    """A model whose versions would enter `environments` with less than they take now: `terms` are those in force."""

    model: str
    environments: tuple[str, ...]
    terms: ApprovalTerms

    @property
    def sentence(self) -> str:
        """In words."""
        return f"letting {self.model} enter {' and '.join(self.environments)} without the {self.terms.role}'s approval"


def loosened(tx: Transaction, loop: str, declared: Said) -> list[Loosened]:
    """What the declaration takes away. A model that was left out of the file for a while is compared with how it was before."""
    return [
        one for name, said in declared["operations"].items() if (one := _loosened(name, _before(tx, loop, name), said))
    ]


def settle(
    tx: Transaction, loop: str, declared: Said, found: list[Loosened], *, actor: str, at: datetime
) -> list[Approval]:
    """Use up what was approved, if all of it was; else give the requests for what was not."""
    abouts = [(one, _about(loop, declared, one)) for one in found]
    missing = [(one, about) for one, about in abouts if is_given(tx, about, at) is None]
    if not missing:
        missing = [
            (one, about)
            for one, about in abouts
            if not use_word(tx, about, by=actor, at=at, told=f"Applied: {one.sentence}.")
        ]
    return [_asked(tx, one, about, actor, at) for one, about in missing]


def _about(loop: str, declared: Said, one: Loosened) -> Subject:
    """Exactly these terms, whatever else the file changes."""
    said = declared["operations"][one.model]
    wanted = {"approve": said.get("approve"), "environments": list(said.get("environments", ONLY_PRODUCTION))}
    return Subject(project=loop, model=one.model, version=0, environment=PLACE, package="", decision=wanted)


def _asked(tx: Transaction, one: Loosened, about: Subject, actor: str, at: datetime) -> Approval:
    route = declared_route(tx, about.project, about.model)
    why = f"{actor} wants to apply a loop file, {one.sentence}"
    return ask_for(tx, route, about, one.terms, by=actor, authors=[actor], why=why, at=at)


def _before(tx: Transaction, loop: str, model: str) -> Said | None:
    """The model's operation as it was last applied."""
    return next(
        (said for row in store.all_applied(tx, loop) if (said := row["declaration"]["operations"].get(model))), None
    )


def _loosened(model: str, before: Said | None, now: Said) -> Loosened | None:
    if before is None or "approve" not in before:
        return None
    terms = msgspec.convert(before["approve"], ApprovalTerms)
    lost = tuple(_lost(terms, tuple(before.get("environments", ONLY_PRODUCTION)), now))
    return Loosened(model, lost, terms) if lost else None


def _lost(terms: ApprovalTerms, before: tuple[str, ...], now: Said) -> Iterator[str]:
    """Environments that still are, by name or as the last one, and take no word of that role any more."""
    passed = tuple(now.get("environments", ONLY_PRODUCTION))
    told = msgspec.convert(now["approve"], ApprovalTerms) if "approve" in now else None
    kept = set(told.environments) if told is not None and told.role == terms.role else set()
    for environment in terms.environments:
        is_now = passed[-1] if environment == before[-1] else environment
        if is_now in passed and is_now not in kept:
            yield is_now
