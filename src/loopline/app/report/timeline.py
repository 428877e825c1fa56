"""What happened under each policy, in order."""

from collections import Counter

from loopline.app.report.figure import MISSING, moment, times
from loopline.app.report.markup import Markup, element, join
from loopline.app.report.table import column, key, table
from loopline.loop.compare import Comparison, Event, PolicyResult
from loopline.values import utc

_WORDS = {"incident.opened": "incident opened", "incident.resolved": "incident resolved"}


def timeline(comparison: Comparison) -> Markup:
    """A table of events for each policy."""
    return join(_policy(number, result) for number, result in enumerate(comparison.policies))


def _policy(number: int, result: PolicyResult) -> Markup:
    heading = element("h3", key(number), result.policy)
    if not result.events:
        return join([heading, element("p", "Nothing happened.", class_="quiet")])
    counted = Counter(word(event.kind) for event in result.events)
    told = ", ".join(f"{kind} {number:,}" for kind, number in sorted(counted.items()))
    head = element("tr", column("Time (UTC)"), column("Event"), column("What"))
    body = element("tbody", *map(_event, sorted(result.events, key=lambda event: event.at)))
    return join(
        [heading, table(f"{result.policy}, {times(len(result.events), 'event')}: {told}.", head, body, "events")]
    )


def _event(event: Event) -> Markup:
    day, hour = moment(event.at).split(" ")
    at = element("time", element("span", day), " ", element("span", hour), datetime=utc(event.at).isoformat())
    kind = element("td", word(event.kind), class_=f"kind {event.kind.replace('.', '-')}")
    return element("tr", element("th", at, scope="row"), kind, element("td", event.sentence or MISSING))


def word(kind: str) -> str:
    """An event's kind in words."""
    return _WORDS.get(kind, kind.replace(".", " ").replace("_", " "))
