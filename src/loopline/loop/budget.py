"""The budget of false pages of each project of a home."""

from collections import Counter
from collections.abc import Mapping

from loopline.loop import store
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.alarm_kinds import DATA_FAULT
from loopline.monitoring.allotment import ProjectBudget, budget_of, spent_by_slices
from loopline.monitoring.watch import list_monitors
from loopline.storage.database import Transaction


def budgets(
    resources: Resources, project: str | None = None, slices: Mapping[str, float] | None = None
) -> list[ProjectBudget]:
    """Of every project that watches something, or of one: what was declared, shared out and spent, and how small a harm would be seen.

    `slices` says which projects' slices are watched, too, and how many false pages a year they may raise.
    """
    with resources.database.reading() as tx:
        names = [project] if project else projects(tx)
        found = [_budget(resources, tx, name, (slices or {}).get(name, 0.0)) for name in names]
    return [one for one in found if one.monitors]


def _budget(resources: Resources, tx: Transaction, project: str, slices: float) -> ProjectBudget:
    applied = store.latest_applied(tx, project)
    declared = applied["declaration"].get("false_pages_per_year") if applied else None
    raised = Counter((one.model, one.monitor) for one in list_alarms(tx, project) if one.kind != DATA_FAULT)
    monitors = list_monitors(tx, project)
    of_slices = [spent_by_slices(one, slices) for one in monitors if slices]
    return budget_of(project, declared, monitors, raised, resources.clock.now(), of_slices)
