"""Which statements stand together in a step: those of a cell or a phase, and those whose values cannot go from step to step."""

import ast
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from loopline.app.adopting.aliases import Aliases
from loopline.app.adopting.calls import calls, dotted
from loopline.app.adopting.effects import folded, same_file
from loopline.app.adopting.guess import crosses
from loopline.app.adopting.phases import is_shown, phase
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.study import Study


class Groups:
    """Sets of statements, joined until every value that goes between two of them can go, and none needs itself."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.work = [one for one in study.statements if one.role == "work"]
        self._parent = {one.number: one.number for one in self.work}
        self._ended = _endings(self.work)
        self.known: Mapping[str, ast.expr] = {
            name: one.node.value
            for one in study.statements
            if one.role in {"constant", "derive", "top"}
            and isinstance(one.node, (ast.Assign, ast.AnnAssign))
            and one.node.value is not None
            for name in one.binds
        } | {param.name: ast.parse(param.default, mode="eval").body for param in study.params if param.default}
        self._begin()
        self.at_first = {one.number: self.find(one.number) for one in self.work}
        self._join_aliases()
        self.needs = list(self._flows())
        self._join_what_cannot_cross()
        self._join_streams()
        self._join_files()
        self._join_circles()
        self._join_unordered_files()
        self._join_circles()

    def find(self, number: int) -> int:
        """The group of a statement, named by one of its statements."""
        while self._parent[number] != number:
            number = self._parent[number]
        return number

    def join(self, one: Statement, other: Statement) -> None:
        """Two statements stand in one step."""
        first, second = sorted((self.find(one.number), self.find(other.number)))
        self._parent[second] = first

    def ordered(self) -> list[list[Statement]]:
        """The groups, each after those it needs, else as they stand in the source."""
        members: dict[int, list[Statement]] = defaultdict(list)
        for one in self.work:
            members[self.find(one.number)].append(one)
        after = self._edges()
        made: list[list[Statement]] = []
        done: set[int] = set()
        while len(done) < len(members):
            ready = min(group for group in members if group not in done and after[group] <= done)
            made.append(members[ready])
            done.add(ready)
        return made

    def _begin(self) -> None:
        """By cell in notebooks and marked scripts, else by runs of one phase; what only shows goes with what made it."""
        marked = len(self.study.source.cells) > 1
        previous: Statement | None = None
        for one in self.work:
            one.phase = phase(one)
            same = previous is not None and (
                previous.cell == one.cell
                if marked
                else previous.phase == one.phase or (one.phase == "compute" and previous.phase != "load")
            )
            if previous is not None and same:
                self.join(previous, one)
            previous = one
        if not marked:
            self._gather_shown()
        for one, following in pairwise(self.work):
            if _guards(one):
                self.join(one, following)
        self._sink()

    def _gather_shown(self) -> None:
        for one in self.work:
            if is_shown(one) and one.phase != "plot":
                made = [
                    before for before in self.work if before.number < one.number and before.makes & one.reads.keys()
                ]
                if made:
                    self.join(made[-1], one)

    def _sink(self) -> None:
        """What only makes an object that cannot cross goes where the object is used first."""
        cells: dict[int, list[Statement]] = defaultdict(list)
        for one in self.work:
            cells[self.find(one.number)].append(one)
        for members in cells.values():
            for one in members:
                if not self._is_maker(one):
                    continue
                user = next(
                    (later for later in self.work if later.number > one.number and self._uses(later, one)), None
                )
                if user is not None and self.find(user.number) != self.find(one.number):
                    self._move(one, user, members)

    def _uses(self, later: Statement, one: Statement) -> bool:
        streams = {effect.stream for effect in one.effects if effect.stream}
        return bool(one.binds & later.reads.keys()) or any(effect.stream in streams for effect in later.effects)

    def _is_maker(self, one: Statement) -> bool:
        if one.effects and all(effect.deed == "seed" for effect in one.effects):
            return True
        simple = isinstance(one.node, ast.Assign) and isinstance(
            one.node.value, (ast.Call, ast.List, ast.Dict, ast.Constant)
        )
        return (
            simple
            and not one.changes
            and not one.effects
            and not any(map(crosses, one.kinds.values()))
            and not set(one.reads) & self._variables()
        )

    def _variables(self) -> set[str]:
        return {name for one in self.work for name in one.makes}

    def _move(self, one: Statement, user: Statement, members: list[Statement]) -> None:
        """Take it out of its group into that of its user; the others of its group stay together."""
        others = [other for other in members if other is not one]
        for other in members:
            self._parent[other.number] = other.number
        for before, after in itertools.pairwise(others):
            self.join(before, after)
        members.remove(one)
        if not others or self.find(user.number) != self.find(others[0].number):
            self.join(one, user)
            return
        self.join(one, user)

    def _flows(self) -> Iterator[tuple[Statement, Statement, str]]:
        """Who made what somebody reads: maker, reader, name. What may have been made by either of two comes from both."""
        makers: dict[str, list[Statement]] = defaultdict(list)
        for one in self.work:
            for name in one.reads.keys() | one.changes | {name for name in one.perhaps if makers[name]}:
                yield from ((maker, one, name) for maker in makers[name])
            for name in one.sure | one.changes:
                makers[name] = [one]
            for name in one.perhaps - one.sure:
                makers[name] = [*makers[name], one]

    def _join_what_cannot_cross(self) -> None:
        for maker, reader, name in self.needs:
            unsure = name in maker.perhaps and not any(
                before is not maker and name in before.makes and before.number < maker.number for before in self.work
            )
            if unsure or not crosses(maker.kinds.get(name, "")):
                self.join(maker, reader)

    def _join_streams(self) -> None:
        """From a seed on, all that draws from its stream stands together: the stream is in the process."""
        seeded: dict[str, Statement] = {}
        for one in self.work:
            for effect in one.effects:
                if effect.deed == "seed":
                    if effect.stream in seeded:
                        del seeded[effect.stream]
                    seeded[effect.stream] = one
                elif effect.stream in seeded:
                    self.join(seeded[effect.stream], one)
        drawing: Statement | None = None
        for one in self.work:
            if any(effect.deed == "draws" for effect in one.effects):
                if drawing is not None and drawing.cell == one.cell:
                    self.join(drawing, one)
                drawing = None if one.number in self._ended else one

    def _join_aliases(self) -> None:
        for made, changed in Aliases(self.study, self.work).joined():
            self.join(made, changed)

    def path(self, effect_path: ast.expr | None) -> str:
        """A path as far as the code tells."""
        return folded(effect_path, self.known, self.study.full)

    def _touched(self, one: Statement) -> tuple[list[str], list[str]]:
        """Files read and written."""
        read = [self.path(effect.path) for effect in one.effects if effect.deed == "read"]
        written = [self.path(effect.path) for effect in one.effects if effect.deed in {"write", "remove", "folder"}]
        if any(effect.deed == "shell" for effect in one.effects):
            return [*read, "*"], [*written, "*"]
        if any(effect.deed == "folder_change" for effect in one.effects):
            return ["*"], ["*"]
        stores = ["<database>" for effect in one.effects if effect.deed == "database"]
        return [*read, *stores], [
            *written,
            *("<database>" for effect in one.effects if effect.deed == "send" and "to_sql" in effect.told),
        ]

    def _join_files(self) -> None:
        """What reads a file that was written before stands with what wrote it."""
        touched = [(one, *self._touched(one)) for one in self.work]
        for place, (later, read, _) in enumerate(touched):
            for before, _, written in touched[:place]:
                if any(same_file(path, other) for path in read for other in written):
                    self.join(before, later)

    def _join_unordered_files(self) -> None:
        """What writes a file that was read or written before must come later: where no value says so, they stand together."""
        touched = [(one, *self._touched(one)) for one in self.work]
        reach = self._reach()
        for place, (later, _, written) in enumerate(touched):
            for before, read_before, written_before in touched[:place]:
                same = any(same_file(path, other) for path in written for other in [*read_before, *written_before])
                if same and self.find(before.number) not in reach[self.find(later.number)]:
                    self.join(before, later)

    def _reach(self) -> dict[int, set[int]]:
        after = defaultdict(set)
        for maker, reader, _ in self.needs:
            after[self.find(reader.number)].add(self.find(maker.number))
        reach = {group: {group} for group in {self.find(one.number) for one in self.work}}
        changed = True
        while changed:
            changed = False
            for group, found in reach.items():
                wider = found.union(*(after[one] for one in found))
                if wider != found:
                    reach[group], changed = wider, True
        return reach

    def _edges(self) -> dict[int, set[int]]:
        """Groups that must come before each group: they make what it reads, or read what it makes anew."""
        after: dict[int, set[int]] = defaultdict(set)
        last: dict[str, set[int]] = defaultdict(set)
        readers: dict[str, set[int]] = defaultdict(set)
        for one in self.work:
            group = self.find(one.number)
            for name in one.reads.keys() | one.changes:
                after[group] |= last[name]
                readers[name].add(group)
            for name in one.makes:
                after[group] |= readers[name] | last[name]
                last[name] = {group} if name not in one.perhaps else last[name] | {group}
                readers[name] = {group} & readers[name]
        return defaultdict(set, {group: found - {group} for group, found in after.items()})

    def _join_circles(self) -> None:
        while circle := self._circle():
            members = [one for one in self.work if self.find(one.number) in circle]
            for before, later in itertools.pairwise(members):
                self.join(before, later)

    def _circle(self) -> set[int]:
        """Groups that need each other; empty if there are none."""
        after = self._edges()
        groups = {self.find(one.number) for one in self.work}
        reach = {group: set(after[group]) for group in groups}
        changed = True
        while changed:
            changed = False
            for group in groups:
                wider = reach[group].union(*(reach[one] for one in reach[group])) if reach[group] else set()
                if wider != reach[group]:
                    reach[group], changed = wider, True
        within = next((group for group in sorted(groups) if group in reach[group]), None)
        return set() if within is None else {one for one in groups if one in reach[within] and within in reach[one]}


def _guards(one: Statement) -> bool:
    """Whether what follows is not to run if this ends: an assertion, an exit, an error."""
    ends = any(isinstance(node, (ast.Raise, ast.Assert)) for node in ast.walk(one.node))
    exits = any(dotted(call.func) in {"sys.exit", "exit", "quit"} for call in calls(one.node))
    return not one.makes and (ends or exits)


def _endings(work: list[Statement]) -> set[int]:
    """Statements that end a figure: `plt.show()`, `plt.close()`."""
    return {
        one.number
        for one in work
        if any(effect.deed == "draws" and effect.told.endswith((".show", ".close")) for effect in one.effects)
    }
