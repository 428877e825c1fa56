"""Random graphs with failures: what comes out is what a plain evaluation in order gives, and every step is done once."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loopline as ll
import loopline.pipelines.store  # its tables are part of the database that the tests get
from loopline.clock import SystemClock
from loopline.pipelines import reading
from loopline.pipelines.again import resume
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import submit
from loopline.pipelines.inline import Inline
from loopline.pipelines.planning import plan
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade

BROKEN: set[int] = set()
CALLS: Counter[int] = Counter()


@ll.step
def node(number: int, sources: list[int | None], elements: list[int] | None) -> int:
    CALLS[number] += 1
    if number in BROKEN:
        raise ValueError(number)
    return number + sum(source or 0 for source in sources) + sum(elements or [])


@ll.step
def spread(value: int) -> list[int]:
    return list(range(value % 4))


@ll.step
def element(value: int) -> int:
    return 10 * value


@ll.step
def even(value: int) -> bool:
    return value % 2 == 0


@st.composite
def graphs(draw):
    """For each node: the earlier ones it reads, whether it fans one of them out, and the one whose evenness it depends on."""
    size = draw(st.integers(1, 9))
    found = []
    for number in range(size):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        sources = draw(st.lists(earlier, max_size=3, unique=True)) if number else []
        fanned = draw(st.none() | earlier) if number else None
        when = draw(st.none() | st.none() | earlier) if number else None
        found.append((sources, fanned, when))
    return found, draw(st.sets(st.integers(0, size - 1), max_size=3))


def plainly(graph, broken):
    """The values and states by evaluation in order: a value, None where it is skipped, "failed" or "cancelled"."""
    values = []
    for number, (sources, fanned, when) in enumerate(graph):
        needed = [*sources, *([] if fanned is None else [fanned]), *([] if when is None else [when])]
        if any(values[source] in {"failed", "cancelled"} for source in needed):
            values.append("cancelled")
        elif (when is not None and (values[when] is None or values[when] % 2)) or any(
            values[source] is None for source in sources
        ):
            values.append(None)
        elif number in broken:
            values.append("failed")
        else:
            elements = (
                [] if fanned is None or values[fanned] is None else [10 * one for one in range(values[fanned] % 4)]
            )
            values.append(number + sum(values[source] for source in sources) + sum(elements))
    return values


def as_pipeline(graph):
    def body():
        made = []
        for number, (sources, fanned, when) in enumerate(graph):
            elements = None if fanned is None else element.each(spread(made[fanned]))
            condition = True if when is None else even(made[when])
            made.append(node(number, [made[source] for source in sources], elements, when=condition))
        return made[-1]

    return ll.pipeline(name="random")(body)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def make_database(request):
    """The database for all examples: executions do not know each other."""
    if request.param == "sqlite":
        with (
            TemporaryDirectory() as folder,
            closing(Database.open(f"sqlite:///{folder}/loopline.db", durable=False)) as opened,
        ):
            upgrade(opened)
            yield opened
        return
    made = request.getfixturevalue("_postgres_with_tables")
    yield made


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs())
def test_a_random_graph_gives_what_a_plain_evaluation_gives(make_database, drawn):
    graph, broken = drawn
    with TemporaryDirectory() as folder:
        engine = Engine(open_artifacts(folder, durable=False), SystemClock())
        planned = plan(as_pipeline(graph), {}, engine.artifacts)
        with make_database.transaction() as tx:
            execution, _ = submit(tx, engine, planned, fresh=True)
        inline = Inline(engine, make_database, Path(folder), planned.functions)
        BROKEN.update(broken)
        CALLS.clear()
        check(make_database, execution, inline.run(execution), plainly(graph, broken), engine)
        assert all(count == 1 for count in CALLS.values())
        failed = {number for number, value in enumerate(plainly(graph, broken)) if value == "failed"}
        BROKEN.clear()
        if failed:
            with make_database.transaction() as tx:
                resume(tx, engine, execution, here=True)
            check(make_database, execution, inline.run(execution), plainly(graph, set()), engine)
            assert {number for number, count in CALLS.items() if count == 2} == failed


def check(database, execution, state, expected, engine):
    with database.reading() as tx:
        steps = {step.name: step for step in reading.steps_of(tx, execution)}
        result = reading.result_of(tx, execution, engine.artifacts) if state == "done" else None
        done = Counter(event.number for event in reading.events_of(tx, execution) if event.kind == "done")
    assert state == ("failed" if "failed" in expected else "done")
    assert set(done.values()) <= {1}
    words = {None: "skipped", "failed": "failed", "cancelled": "cancelled"}
    for number, value in enumerate(expected):
        name = "node" if number == 0 else f"node-{number + 1}"
        assert steps[name].state == words.get(value, "done"), name
    if state == "done":
        assert result == expected[-1]
