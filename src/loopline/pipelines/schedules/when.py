"""What may fire a pipeline: one of the clocks, or one of the triggers."""

from loopline.errors import InvalidInput
from loopline.pipelines.schedules.cron import Cron
from loopline.pipelines.schedules.interval import Interval
from loopline.pipelines.schedules.triggers import OnAlarm, OnTable, OnWebhook

When = Cron | Interval | OnTable | OnAlarm | OnWebhook

KINDS: dict[type, str] = {
    Cron: "cron", Interval: "interval", OnTable: "table", OnAlarm: "alarm", OnWebhook: "webhook"
}  # fmt: skip


def of_pipeline(schedule: object) -> tuple[When, ...]:
    """What a pipeline declares under `schedule`, one or several, checked. Raises `InvalidInput`."""
    found = schedule if isinstance(schedule, (list, tuple)) else [] if schedule is None else [schedule]
    wrong = [one for one in found if type(one) not in KINDS]
    if wrong:
        raise InvalidInput(
            "schedule.not_a_schedule",
            f"{wrong[0]!r} is no schedule",
            remedy="Use ll.cron(...), ll.interval(...), ll.on_table(...), ll.on_alarm(...), ll.on_webhook(...).",
        )
    return tuple(found)
