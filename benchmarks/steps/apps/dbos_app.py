"""DBOS: steps of a workflow; a queue for the fan-out, as its documentation shows one."""

from dbos import DBOS
from timing import DATABASE, both

DBOS(config={"name": "steps", "system_database_url": DATABASE, "run_admin_server": False, "log_level": "ERROR"})


@DBOS.step()
def add(value: int) -> int:
    return value + 1


@DBOS.workflow()
def sequence(count: int) -> int:
    value = 0
    for _ in range(count):
        value = add(value)
    return value


@DBOS.workflow()
def fan_out(count: int) -> int:
    handles = [queue.enqueue(add, value) for value in range(count)]
    return sum(handle.get_result() for handle in handles)


DBOS.launch()
queue = DBOS.register_queue("fan_out")
both(sequence, fan_out)
DBOS.destroy()
