"""Plots become pictures: what a cell draws is kept as bytes of PNG, which go from step to step."""

import ast

from loopline.app.adopting.calls import calls
from loopline.app.adopting.edits import Edit, edited
from loopline.app.adopting.params import fresh
from loopline.app.adopting.source import Source
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.study import Study

_SHOW = {"matplotlib.pyplot.show", "pylab.show"}


def keep_pictures(source: Source, study: Study) -> bool:
    """Put `picture = drawn()` where a figure was shown, and where a cell of a notebook draws last; whether there is any."""
    if not any(module.startswith("matplotlib.pyplot") for module in study.aliases.values()) and not _draws_frames(
        study
    ):
        return False
    taken = {name for one in study.statements for name in one.binds} | set(study.aliases)
    edits: list[Edit] = []
    after: dict[int, str] = {}
    for statement in study.statements:
        shown = [call for call in calls(statement.node) if study.full(call.func) in _SHOW]
        if shown and isinstance(statement.node, ast.Expr) and statement.node.value is shown[0]:
            edits.append(Edit.of(statement.node, f"{fresh('picture', taken)} = drawn()"))
        else:
            edits += [Edit.of(call.func, f"{ast.unparse(call.func).rpartition('.')[0]}.close") for call in shown]
            if shown:
                source.find(
                    statement.node.lineno, "plot.in_loop", "note", "pictures that are shown within a loop or a block are not kept",
                    "Save each with savefig, or return them as a list of bytes.",
                )  # fmt: skip
    if source.notebook:
        after = {one.node.end_lineno or one.node.lineno: fresh("picture", taken) for one in _drawn_last(study)}
    source.text = edited(source.text, edits)
    _insert(source, after)
    return bool(edits or after)


def _draws_frames(study: Study) -> bool:
    return any(effect.deed == "draws" for one in study.statements for effect in one.effects)


def _drawn_last(study: Study) -> list[Statement]:
    """The last statement that draws, of each cell that neither shows, saves nor closes its figure."""
    last: dict[int, Statement] = {}
    ended: set[int] = set()
    figures: set[str] = set()
    for one in study.statements:
        told = [effect.told for effect in one.effects if effect.deed == "draws"]
        if any(name.endswith((".show", ".close", ".savefig")) for name in told) or any(
            effect.told == "savefig" for effect in one.effects
        ):
            ended.add(one.cell)
        if told or (figures & one.changes):
            last[one.cell] = one
        figures |= {name for name, kind in one.kinds.items() if kind == "figure"}
    return [one for cell, one in last.items() if cell not in ended]


def _insert(source: Source, after: dict[int, str]) -> None:
    lines = source.text.split("\n")
    for number in sorted(after, reverse=True):
        lines.insert(number, f"{after[number]} = drawn()")
        source.places.insert(number, source.places[number - 1])
    source.text = "\n".join(lines)
