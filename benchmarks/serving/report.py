"""The results as Markdown: what was measured, ratios, and whether the goals are met."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CELLS = (("1", "1"), ("1", "32"), ("100", "1"), ("100", "32"))
OF_BAREST, OF_PEER_ONE, OF_PEER_HUNDRED, WORKER_MB = 0.7, 15.0, 2.3, 150.0

_BAREST = "barest"
_OURS = ("loopline", "loopline-synced")
INSIDE = {"sklearn": "scikit-learn", "onnx": "ONNX Runtime"}

Result = Mapping[str, Any]


def markdown(results: Sequence[Result], stages: Mapping[str, Mapping[str, float]]) -> str:
    """Everything, to be printed."""
    parts = [_figures(results), _ratios(results), _goals(results), _stages(stages), _notes(results)]
    return "\n\n".join(part for part in parts if part)


def _figures(results: Sequence[Result]) -> str:
    heads = [f"{rows} row{'s' * (rows != '1')}, c={connections}" for rows, connections in CELLS]
    lines = [
        "Answers a second (p50 / p99 in ms, processor time an answer in us); medians.",
        "",
        "| | inside | " + " | ".join(heads) + " | MB |",
        "|---|---|" + "---|" * (len(CELLS) + 1),
    ]
    for result in results:
        for form in _forms(result):
            cells = [_figure(result["cells"].get(_key(form, cell))) for cell in CELLS]
            lines.append(
                f"| {result['title']}, {form} | {result['inside']} | {' | '.join(cells)} | {_memory(result)} |"
            )
    return "\n".join(lines)


def _figure(cell: Mapping[str, float] | None) -> str:
    if cell is None:
        return ""
    failed = f" **{cell['failed']} failed**" if cell["failed"] else ""
    return (
        f"{cell['rps']:,.0f} ({cell['p50_us'] / 1e3:.2f} / {cell['p99_us'] / 1e3:.2f}, {cell['cpu_us']:,.0f}){failed}"
    )


def _memory(result: Result) -> str:
    if result.get("memory_mb") is None:
        return ""
    worker = result.get("worker_mb")
    return f"{result['memory_mb']:.0f}" + (f", scoring {worker:.0f}" if worker else "")


def _ratios(results: Sequence[Result]) -> str:
    barest = _named(results, _BAREST)
    lines = [
        "Times the rate of the barest app, and of the fastest peer in that cell, by what the peers have inside:",
        "",
    ]
    lines += ["| | " + " | ".join(f"{rows} x c={c}" for rows, c in CELLS) + " |", "|---|" + "---|" * len(CELLS)]
    for result in results:
        for form in _forms(result):
            cells = [_ratio(results, result, form, cell, barest) for cell in CELLS]
            lines.append(f"| {result['title']}, {form} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(results: Sequence[Result], result: Result, form: str, cell: tuple[str, str], barest: Result | None) -> str:
    rate = _rate(result, form, cell)
    if rate is None:
        return ""
    limit = _rate(barest, "JSON", cell)
    best = [best_peer(results, cell, inside) for inside in INSIDE]
    against = [f"{rate / peer[1]:.1f}x {peer[0]}" for peer in best if peer]
    return "; ".join([*([f"{rate / limit:.2f}"] if limit else []), *against])


def best_peer(results: Sequence[Result], cell: tuple[str, str], inside: str) -> tuple[str, float] | None:
    """The name and the rate of the fastest peer in a cell, of those that have `inside`."""
    rates = [(f"{one['name']} ({inside})", _rate(one, "JSON", cell)) for one in results if one["peer"] == inside]
    known = [(name, rate) for name, rate in rates if rate is not None]
    return max(known, key=lambda one: one[1]) if known else None


def _goals(results: Sequence[Result]) -> str:
    lines = ["Goals, JSON, contract check, token and log on:", ""]
    for name in _OURS:
        result = _named(results, name)
        if result is not None:
            lines += [f"- {result['title']}: {said}" for said in _reached(results, result)]
    return "\n".join(lines)


def _reached(results: Sequence[Result], result: Result) -> Iterator[str]:
    barest = _named(results, _BAREST)
    for cell in CELLS:
        rate, limit = _rate(result, "JSON", cell), _rate(barest, "JSON", cell)
        where = f"{cell[0]} row{'s' * (cell[0] != '1')} at c={cell[1]}"
        if rate and limit:
            yield _said(f"of the barest app, {where}", rate / limit, OF_BAREST)
        goal = OF_PEER_ONE if cell[0] == "1" else OF_PEER_HUNDRED
        for inside in INSIDE:
            peer = best_peer(results, cell, inside)
            if rate and peer:
                yield _said(f"times the best peer, {peer[0]}, {where}", rate / peer[1], goal)
    worker = result.get("worker_mb")
    if worker:
        yield f"{worker:.0f} MB a worker, goal < {WORKER_MB:.0f}: {_verdict(met=worker < WORKER_MB)}"


def _said(what: str, found: float, goal: float) -> str:
    return f"{found:.2f} {what}, goal >= {goal:g}: {_verdict(met=found >= goal)}"


def _verdict(*, met: bool) -> str:
    return "met" if met else "**not met**"


def _stages(stages: Mapping[str, Mapping[str, float]]) -> str:
    if not stages:
        return ""
    sizes = list(stages)
    names = list(dict.fromkeys(name for found in stages.values() for name in found))
    lines = ["Where the time of ours goes, with clocks around the stages in process; medians, us a request:", ""]
    lines += ["| stage | " + " | ".join(sizes) + " |", "|---|" + "---|" * len(sizes)]
    lines += [
        f"| {name} | " + " | ".join(f"{stages[size].get(name, 0):.1f}" for size in sizes) + " |" for name in names
    ]
    return "\n".join(lines)


def _notes(results: Sequence[Result]) -> str:
    notes = [(one["title"], *note) for one in results for note in one.get("notes", {}).items()]
    return "\n".join(f"- {title}, {what}: {said}" for title, what, said in notes)


def _forms(result: Result) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[0] for name in result["cells"])) or ["JSON"]


def _key(form: str, cell: tuple[str, str]) -> str:
    return f"{form}/{cell[0]}/{cell[1]}"


def _rate(result: Result | None, form: str, cell: tuple[str, str]) -> float | None:
    found = result["cells"].get(_key(form, cell)) if result else None
    return found["rps"] if found else None


def _named(results: Sequence[Result], name: str) -> Result | None:
    return next((one for one in results if one["name"] == name), None)
