"""Steps: groups of statements with what each takes, gives back, repeats, and is called."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from loopline.app.adopting.effects import same_file
from loopline.app.adopting.groups import Groups
from loopline.app.adopting.guess import crosses
from loopline.app.adopting.params import all_names, fresh, plain_name
from loopline.app.adopting.phases import ORDER, heading
from loopline.app.adopting.scopes import stored
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.study import Study

_OUTSIDE = {"read", "network", "database", "clock", "write", "send", "shell", "remove", "asks", "folder_change"}
_MOST_WORDS = 4
_SMALL = {"the", "a", "an", "of", "and", "to", "our", "for", "in", "on", "with", "by"}


def _writes(one: Statement) -> bool:
    return any(effect.deed == "write" for effect in one.effects)


@dataclass
class Step:
    """One step: the statements of its body in order, its inputs and outputs with their kinds, names to be bound first."""

    name: str
    body: list[Statement]
    inputs: dict[str, str]
    outputs: dict[str, str]
    begin: list[str]
    reuse: bool
    retries: bool

    @property
    def work(self) -> list[Statement]:
        """What stands in this step alone."""
        return [one for one in self.body if one.role == "work"]


class Steps:
    """The steps of a pipeline in their order, and what it returns."""

    def __init__(self, study: Study, groups: Groups) -> None:
        self._study, self._groups = study, groups
        self.variables = {name for one in groups.work for name in one.makes}
        self._params = {param.name: param.annotation for param in study.params}
        self._taken = all_names(study.tree) | set(self._params) | {"ll"}
        self.results, self.kept_back = self._results()
        self.steps = [self._step(group) for group in groups.ordered()]

    def _results(self) -> tuple[dict[str, str], dict[str, Statement]]:
        """Names that are left at the end and lead to nothing else that is returned: those that can be, and those that cannot."""
        last: dict[str, Statement] = {}
        for one in self._groups.work:
            for name in one.makes:
                last[name] = one
        covered: set[str] = set()
        results: dict[str, str] = {}
        kept_back: dict[str, Statement] = {}
        for name, maker in sorted(last.items(), key=lambda pair: pair[1].number, reverse=True):
            kind = maker.kinds.get(name, "")
            loose = name in maker.perhaps and not any(name in one.sure for one in self._groups.work)
            if self._leads(name, maker, covered):
                covered.add(name)
            elif loose or name.startswith("_"):
                continue
            elif crosses(kind):
                results[name] = kind
                covered.add(name)
            elif kind not in {"figure", "function", "module", "None", "rng", "lazy"}:
                kept_back[name] = maker
        return dict(sorted(results.items(), key=lambda pair: last[pair[0]].number)), kept_back

    def _leads(self, name: str, maker: Statement, covered: set[str]) -> bool:
        """Whether something that is returned was made of it; what is written to a file is a result all the same."""
        after = [later for later in self._groups.work if later.number > maker.number and name in later.reads]
        if any(_writes(later) and isinstance(later.node, ast.Expr) for later in after) and crosses(
            maker.kinds.get(name, "")
        ):
            return False
        return any((later.makes - {name}) & covered and not _writes(later) for later in after)

    def _step(self, group: list[Statement]) -> Step:
        body = sorted([*group, *self._repeated(group)], key=lambda one: one.number)
        inputs = self._inputs(body, group)
        outputs = self._outputs(group)
        bound = {name for one in body for name in one.binds} | inputs.keys()
        begin = sorted({name for one in group for name in one.changes if name in self._made_by_functions()} - bound)
        deeds = {effect.deed for one in body for effect in one.effects}
        chance = any(
            effect.deed == "draw" and not self._is_seeded(effect.stream, group)
            for one in group
            for effect in one.effects
        )
        retries = "network" in deeds and not deeds & {"send", "shell", "remove", "write"}
        return Step(self._name(group, outputs), body, inputs, outputs, begin, not (deeds & _OUTSIDE or chance), retries)

    def _made_by_functions(self) -> set[str]:
        functions = self._study.functions
        return {name for one in functions.defined for name in functions.summary(one).touches}

    def _is_seeded(self, stream: str, group: list[Statement]) -> bool:
        return bool(stream) and any(
            effect.deed == "seed" and effect.stream == stream for one in group for effect in one.effects
        )

    def _repeated(self, group: list[Statement]) -> list[Statement]:
        """Functions, cheap values and folders that the group needs, and what these need."""
        by_name = {
            name: one for one in self._study.statements if one.role in {"derive", "define"} for name in one.binds
        }
        found: dict[int, Statement] = {one.number: one for one in self._folders(group)}
        waiting = [name for one in [*group, *found.values()] for name in one.reads]
        while waiting:
            one = by_name.get(waiting.pop())
            if one is not None and one.number not in found:
                found[one.number] = one
                summaries = [self._study.functions.summary(name) for name in one.binds]
                waiting += [*one.reads, *(name for summary in summaries for name in [*summary.reads, *summary.touches])]
        return list(found.values())

    def _folders(self, group: list[Statement]) -> list[Statement]:
        folders = [one for one in self._study.statements if one.role == "folder"]
        written = [self._groups.path(effect.path) for one in group for effect in one.effects if effect.deed == "write"]
        made = [(one, self._groups.path(effect.path)) for one in folders for effect in one.effects]
        return [one for one, folder in made if any(same_file(path, folder) for path in written)]

    def _inputs(self, body: list[Statement], group: list[Statement]) -> dict[str, str]:
        inputs: dict[str, str] = {}
        bound: set[str] = set()
        mine = {one.number for one in group}
        for one in body:
            for name in [*one.reads, *sorted(one.changes), *sorted(one.perhaps)]:
                if name in bound or name in inputs:
                    continue
                makers = [
                    maker
                    for maker in self._groups.work
                    if name in maker.makes and maker.number < one.number and maker.number not in mine
                ]
                if name in self._params:
                    inputs[name] = self._params[name]
                elif makers and name in self.variables:
                    inputs[name] = makers[-1].kinds.get(name, "")
            bound |= one.sure
        return inputs

    def _outputs(self, group: list[Statement]) -> dict[str, str]:
        mine = {one.number for one in group}
        needed = {
            name for maker, reader, name in self._groups.needs if maker.number in mine and reader.number not in mine
        }
        outputs: dict[str, str] = {}
        for one in group:
            for name in dict.fromkeys([*stored(one.node), *sorted(one.changes)]):
                last = not any(name in later.makes for later in self._groups.work if later.number > one.number)
                if name in needed or (name in self.results and last):
                    outputs[name] = one.kinds.get(name, "")
        return outputs

    def _name(self, group: list[Statement], outputs: dict[str, str]) -> str:
        titles = [
            title
            for cell in dict.fromkeys(one.cell for one in group)
            if (title := heading(self._study.source.cells[cell - 1].prose))
        ]
        words = (
            [word for word in re.findall(r"[A-Za-z0-9]+", titles[0].lower()) if word not in _SMALL] if titles else []
        )
        phase = self._phase(group)
        if 0 < len(words) <= _MOST_WORDS:
            return fresh(plain_name("_".join(words)), self._taken, "step")
        named = [f"{phase}_{plain_name(thing)}" for thing in outputs]
        tries = [*named, phase] if phase in {"load", "compute"} else [phase, *named]
        return fresh(next((one for one in tries if one not in self._taken), tries[0]), self._taken)

    def _phase(self, group: list[Statement]) -> str:
        phases = [one.phase for one in group]
        leading: Iterable[str] = ("train", "split", "load", "evaluate")
        told = [one for one in phases if one != "compute"] or phases
        return next(
            (one for one in leading if one in phases), max(ORDER, key=lambda one: (told.count(one), -ORDER.index(one)))
        )
