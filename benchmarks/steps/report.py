"""The results as Markdown: what was measured, ratios, and whether the goals are met."""

from collections.abc import Mapping, Sequence
from typing import Any

OF_LIMIT, OF_PEER, MS = 3.0, 5.0, 0.3

Result = Mapping[str, Any]


def markdown(results: Sequence[Result]) -> str:
    """Everything, to be printed."""
    return "\n\n".join(part for part in (_figures(results), _goals(results), _notes(results)) if part)


def goals(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Each goal with what was found; those that nothing was measured for are left out."""
    found = []
    for ours in (one for one in results if one["role"] == "ours" and "worker" not in one["name"]):
        limit = next((one for one in results if one["name"] == ours["limit"]), None)
        peers = [one for one in results if one["role"] == "peer"]
        where = ours["title"]
        if (mine := _ms(ours)) is None:
            continue
        if limit is not None and (least := _ms(limit)) is not None:
            found.append(
                _goal(f"{where}: at most {OF_LIMIT:g} times the limit", mine / least, met=mine / least <= OF_LIMIT)
            )
        if ours["database"] == "sqlite":
            found.append(_goal(f"{where}: about {MS} ms a step", mine, met=mine <= MS))
        timed = [ms for one in peers if (ms := _ms(one)) is not None]
        if timed:
            ahead = min(timed) / mine
            found.append(_goal(f"{where}: {OF_PEER:g} times ahead of the best peer", ahead, met=ahead >= OF_PEER))
    return found


def _goal(goal: str, value: float, *, met: bool) -> dict[str, Any]:
    return {"goal": goal, "found": value, "met": met}


def _figures(results: Sequence[Result]) -> str:
    lines = [
        "Wall time and processor time (all processes) a step in ms, steps a second; medians of the rounds.",
        "",
        "| | one step alone, ms | steps | in sequence, ms | cpu ms | /s | of the limit | fan-out, ms | cpu ms | /s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    limits = {one["name"]: _ms(one) for one in results}
    for one in results:
        phases = one["phases"]
        if "sequence" not in phases:
            continue
        least = limits.get(one["limit"])
        ratio = f"{phases['sequence']['ms'] / least:,.1f}" if least else ""
        row = [f"{phases['one']['ms']:,.1f}", f"{phases['sequence']['steps']:,}", *_cells(phases["sequence"]), ratio]
        row += _cells(phases["fan_out"]) if "fan_out" in phases else ["", "", ""]
        lines.append(f"| {one['title']} | {' | '.join(row)} |")
    return "\n".join(lines)


def _cells(phase: Mapping[str, float]) -> list[str]:
    return [f"{phase['ms']:,.2f}", f"{phase['cpu_ms']:,.2f}", f"{phase['per_second']:,.0f}"]


def _goals(results: Sequence[Result]) -> str:
    return "\n".join(
        f"- {one['goal']}: {one['found']:.2f}, **{'met' if one['met'] else 'not met'}**" for one in goals(results)
    )


def _notes(results: Sequence[Result]) -> str:
    return "\n".join(f"- {one['title']}: {one['cannot']}" for one in results if one["cannot"])


def _ms(result: Result) -> float | None:
    phase = result["phases"].get("sequence")
    return None if phase is None else float(phase["ms"])
