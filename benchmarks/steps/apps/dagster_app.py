"""Dagster: ops of a job, executed in this process with the instance of DAGSTER_HOME; a dynamic output for the fan-out."""

from collections.abc import Iterator

from dagster import DagsterInstance, DynamicOut, DynamicOutput, job, op
from timing import both

instance = DagsterInstance.get()


@op
def begin() -> int:
    return 0


@op
def add(value: int) -> int:
    return value + 1


@op
def total(values: list) -> int:
    return sum(values)


def sequence(count: int) -> int:
    @job(name=f"sequence_{count}")
    def built() -> None:
        value = begin()
        for number in range(count):
            value = add.alias(f"add_{number}")(value)

    return built.execute_in_process(instance=instance).output_for_node(f"add_{count - 1}")


def fan_out(count: int) -> int:
    @op(name=f"spread_{count}", out=DynamicOut(int))
    def spread() -> Iterator[DynamicOutput]:
        for value in range(count):
            yield DynamicOutput(value, mapping_key=str(value))

    @job(name=f"fan_out_{count}")
    def built() -> None:
        total(spread().map(add).collect())

    return built.execute_in_process(instance=instance).output_for_node("total")


both(sequence, fan_out)
