"""Whoever is to be called is called, whatever becomes of the diagnosis."""

from dataclasses import replace

import pytest

from loopline.incidents import incident
from loopline.loop import diagnose
from loopline.loop.history import History
from loopline.loop.inputs import References
from loopline.loop.lane import lanes
from loopline.monitoring.alarm import list_alarms


@pytest.fixture
def asked(copied, small_loop):
    """What is told of the harm that the loop met, where this diagnoser is asked."""
    lane = next(one for one in lanes(small_loop, seed=0, compare=True) if one.project == "parcels")
    with copied.database.reading() as tx:
        alarm = next(one for one in list_alarms(tx, "parcels") if one.kind == "harm")

    def ask(diagnoser):
        resources = replace(copied, diagnoser=diagnoser)
        history, references = History(copied.tables), References(copied)
        return diagnose.diagnose(resources, lane, history, references, alarm, copied.clock.now())

    return ask


def test_a_diagnosis_that_fails_leaves_what_moved(asked):
    def failing(rows, question):
        raise MemoryError(f"{rows.height} rows of {question.risk.loss}")

    assert asked(failing) == asked(None)


def test_the_diagnoser_gets_the_log_since_before_the_onset(asked):
    seen = []
    asked(lambda rows, question: seen.append((rows, question)) or [])
    [(rows, question)] = seen
    assert question.earliest <= question.onset < question.until
    assert rows["at"].is_sorted()
    assert rows["at"].max() <= question.until
    assert rows.filter(rows["at"] <= question.earliest).height > 0
    assert {"label", "score", "model_version", "carrier", "way"} <= set(rows.columns)


def test_what_was_told_when_it_opened_stands_in_the_incident(copied):
    with copied.database.reading() as tx:
        [found] = incident.find(tx, "parcels")
    assert found.diagnosis
    assert all("sentence" in one for one in found.diagnosis)
