"""How executions and their steps are printed for people."""

from collections.abc import Sequence

from rich.console import Console

from loopline.cli.output import table
from loopline.pipelines.reading import ExecutionRow, StepRow

_COLUMNS = ["execution", "pipeline", "state", "window (UTC)", "steps", "begun (UTC)", "ended (UTC)", "by"]


def print_executions(console: Console, found: Sequence[ExecutionRow]) -> None:
    """A line for each execution."""
    if not found:
        console.print("No pipeline was run here yet: `loopline pipelines run FILE`.")
        return
    console.print(table("Executions", _COLUMNS, [_row(one) for one in found]))


def print_execution(console: Console, found: ExecutionRow) -> None:
    """One execution, and what it was given."""
    console.print(table("Execution", _COLUMNS, [_row(found)]))
    if found.params:
        console.print(", ".join(f"{name}={value}" for name, value in found.params.items()), markup=False, style="dim")


def print_steps(console: Console, steps: Sequence[StepRow]) -> None:
    """A line for each step."""
    if not steps:
        console.print("No steps of it are kept (LOOPLINE_KEEP_EXECUTIONS says for how long they are).")
        return
    rows = [(one.name, _state(one), one.attempt, one.seconds, _error(one), one.worker) for one in steps]
    console.print(table("Steps", ["step", "state", "attempts", "seconds", "error", "worker"], rows))


def _row(one: ExecutionRow) -> tuple[object, ...]:
    window = None if one.window is None else f"{one.window[0]:%Y-%m-%d %H:%M} .. {one.window[1]:%Y-%m-%d %H:%M}"
    steps = ", ".join(f"{count} {state}" for state, count in sorted(one.steps.items()))
    return one.execution, one.pipeline, one.state, window, steps or None, one.created_at, one.ended_at, one.created_by


def _state(step: StepRow) -> str:
    if step.instead is not None and step.state == "done":
        return f"done ({step.instead['kind'].replace('_', ' ')})"
    return step.state if step.reused is None else "reused"


def _error(step: StepRow) -> str | None:
    if step.error is None:
        return None
    return str(step.error["message"]) if "message" in step.error else f"because {step.error.get('because')}"
