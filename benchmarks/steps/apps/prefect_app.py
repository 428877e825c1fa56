"""Prefect: tasks of a flow, mapped for the fan-out; the flow starts its server, which lives as long as this process."""

from prefect import flow, task
from timing import both


@task
def add(value: int) -> int:
    return value + 1


@flow
def sequence(count: int) -> int:
    value = 0
    for _ in range(count):
        value = add(value)
    return value


@flow
def fan_out(count: int) -> int:
    return sum(future.result() for future in add.map(list(range(count))))


both(sequence, fan_out)
