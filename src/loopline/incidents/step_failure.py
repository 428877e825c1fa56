"""Telling people that a step has failed, or that its window was skipped: gathered by kind of error."""

from collections.abc import Sequence
from datetime import datetime

from loopline.incidents.calendar import Span
from loopline.incidents.gathering import gather
from loopline.incidents.outbox import Notification, Severity
from loopline.pipelines.healing.classes import Classified
from loopline.pipelines.healing.decide import Next
from loopline.pipelines.healing.record import Where
from loopline.pipelines.healing.remedies import Page
from loopline.storage.database import Transaction


def tell_failure(
    tx: Transaction,
    where: Where,
    error: Classified,
    then: Next,
    *,
    owner: str,
    at: datetime,
    quiet: Sequence[Span] = (),
) -> Notification | None:
    """Tell whom it concerns, in the transaction that ends the attempt; None where the step is not over.

    `page` is critical and breaks through quiet hours; a step that failed, or skipped its window, is a warning. The same kind of
    error of one step is one message with a count.
    """
    if not then.ends:
        return None
    to = then.remedy.to if isinstance(then.remedy, Page) and then.remedy.to else owner
    severity: Severity = "critical" if then.kind == "page" else "warning"
    step = f"{where.pipeline}.{where.step}"
    message = {
        "event": "step.skipped" if then.kind == "skip_window" else "step.failed",
        "pipeline": where.pipeline,
        "step": where.step,
        "execution": where.execution,
        "class": error.class_,
        "error": error.name,
        "fingerprint": error.fingerprint,
        "source": error.source,
        "at": at.isoformat(),
        "text": f"{step}: {then.sentence}",
    }
    return gather(
        tx,
        project=where.project,
        group=f"{step}:{error.fingerprint}",
        key=f"{where.execution}:{where.step}:{where.attempt}",
        to=to,
        severity=severity,
        message=message,
        at=at,
        quiet=quiet,
    )
