"""Reviews: predictions that people label. Reviewers claim, answer, skip; nobody gets what another holds."""

from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from loopline.access.permissions import Permission
from loopline.labels.review.counts import ReviewCounts
from loopline.labels.review.item import ReviewItem
from loopline.loop import reviewing
from loopline.loop.reviewing import Review, Sight
from loopline.server.control.inputs import Body, Caller, Home, Limit, MachineClock, Name, Reason

_ALL = "/projects/{project:str}/reviews"
_ONE = f"{_ALL}/{{review_id:str}}"

State = Literal["waiting", "answered", "skipped", "expired", "told"]
Note = Annotated[str, msgspec.Meta(max_length=2000, pattern=r"^[^\x00]*$")]


class Claim(Body):
    """Of which model, by default any; whether what the model said is to be seen, and personal values in clear, with the reason."""

    model: Name | None = None
    model_said: bool = False
    clear: bool = False
    reason: Reason = "to review it"


class Answer(Body):
    """The label: true or false, positive or negative, the name of a class, a number. `correct` takes another for one that was given."""

    label: float | bool | str
    note: Note = ""
    correct: bool = False


class Skip(Body):
    """Why one cannot tell."""

    note: Note = ""


@get(_ALL, permission=Permission.REVIEWS_READ, sync_to_thread=True)
def list_reviews(
    home: Home,
    caller: Caller,
    project: FromPath[str],
    model: FromQuery[str | None] = None,
    only: FromQuery[State | None] = None,
    limit: Limit = 100,
) -> list[ReviewItem]:
    """Items, the costliest first; with `only` those that stand so."""
    states = () if only is None else (only,)
    return reviewing.list_reviews(home, caller, project=project, model=model, states=states, limit=limit)


@get(f"{_ALL}/counts", permission=Permission.REVIEWS_READ, sync_to_thread=True)
def count_reviews(home: Home, caller: Caller, project: FromPath[str]) -> list[ReviewCounts]:
    """How many items of each model stand where, and how often reviewers and true labels agree."""
    return reviewing.count_reviews(home, caller, project=project)


@post(f"{_ALL}/next", permission=Permission.REVIEWS_ANSWER, status_code=200, sync_to_thread=True)
def claim(
    home: Home, caller: Caller, machine_clock: MachineClock, project: FromPath[str], data: JSONBody[Claim]
) -> Review | None:
    """Claim the costliest item that nobody holds; null where nothing waits. What you hold already is given again."""
    sight = Sight(data.model_said, data.clear, data.reason)
    return reviewing.next_review(home, caller, project=project, model=data.model, sight=sight, at=machine_clock.now())


@get(_ONE, permission=Permission.REVIEWS_READ, sync_to_thread=True)
def read_review(
    home: Home,
    caller: Caller,
    machine_clock: MachineClock,
    project: FromPath[str],
    review_id: FromPath[str],
    model_said: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
    clear: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
    reason: FromQuery[Reason] = "asked over HTTP",
) -> Review:
    """One item. Persons are called by pseudonyms; with `clear` their values are shown to who may see them, and the ledger says so."""
    sight = Sight(model_said, clear, reason)
    return reviewing.show_review(
        home, caller, project=project, review_id=review_id, sight=sight, at=machine_clock.now()
    )


@post(f"{_ONE}/answer", permission=Permission.REVIEWS_ANSWER, status_code=200, sync_to_thread=True)
def answer(
    home: Home, caller: Caller, project: FromPath[str], review_id: FromPath[str], data: JSONBody[Answer]
) -> ReviewItem:
    """Give an item its label. The same again changes nothing; another takes `correct`, and both are kept."""
    return reviewing.answer_review(
        home,
        caller,
        project=project,
        review_id=review_id,
        label=data.label,
        note=data.note,
        correct=data.correct,
    )


@post(f"{_ONE}/skip", permission=Permission.REVIEWS_ANSWER, status_code=200, sync_to_thread=True)
def skip(
    home: Home, caller: Caller, project: FromPath[str], review_id: FromPath[str], data: JSONBody[Skip]
) -> ReviewItem:
    """Say that you cannot tell: somebody else is asked."""
    return reviewing.skip_review(home, caller, project=project, review_id=review_id, note=data.note)


@post(f"{_ONE}/release", permission=Permission.REVIEWS_ANSWER, status_code=200, sync_to_thread=True)
def release(home: Home, caller: Caller, project: FromPath[str], review_id: FromPath[str]) -> ReviewItem:
    """Give a claim back before its lease ends."""
    return reviewing.release_review(home, caller, project=project, review_id=review_id)


HANDLERS = (list_reviews, count_reviews, claim, read_review, answer, skip, release)
