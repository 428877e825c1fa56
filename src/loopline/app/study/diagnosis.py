"""The causes of a harm, ranked: what is known of inputs, rows, slices and versions, put side by side in one measure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from loopline.app.study.causes import SCORE, known_at, suspects, units_since
from loopline.app.study.explained import lately_of, unexplained
from loopline.app.study.measure import loss_of
from loopline.app.study.pictures import distances, fault_picture, pictured, slice_picture
from loopline.app.study.repeats import repeats
from loopline.app.study.study import Study, figure
from loopline.monitoring.carriers import Carrier
from loopline.monitoring.diagnosis.cause import CERTAINTY, Cause, cause, ranked
from loopline.monitoring.diagnosis.cells import promising_cells
from loopline.monitoring.diagnosis.change import Change
from loopline.monitoring.diagnosis.links import Broken, broken_links, spread_of
from loopline.monitoring.diagnosis.mix import traffic_mix
from loopline.monitoring.diagnosis.parting import Rows, clearest
from loopline.monitoring.quality import DataFault
from loopline.monitoring.slice_risk import SliceBlocks, SliceHarm

if TYPE_CHECKING:
    from loopline.monitoring.diagnosis.blind import Blind

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MOST = 12
_MOST_SUSPECTS = 6
_RECENT = 5
_HALF = 0.5
_SURE = 3.0
_BESIDE_FAULTS = 0.1
"""How surely a slice's loss rose by itself where an input is broken that surely contributes: slices that are looked for are always found."""
_FROZEN = 0.3
_MUCH = 0.3
"""A share of the rise that is worth being told of."""
_NEARLY_ALL = 0.8
"""A share of the rise that is a reason to look no further."""
_CLEARLY_MORE = 1.25
_EMPTYING = frozenset({"null_rate", "constant", "stale_feature"})
_CLOCK = "time of day"
_A_DAY = 86_400_000_000
_LEAST_MIX = 0.1
_ALIKE = 0.8
"""Slices that account for this much of what the first does overlap with it, as a rule."""


class Diagnosis:
    """Looks for causes of what came in some blocks, against the reference."""

    def __init__(
        self,
        study: Study,
        harms: Sequence[SliceHarm],
        sums: dict[str, SliceBlocks],
        changes: Sequence[Change] = (),
    ) -> None:
        self._changes = changes
        self.study, self.harms, self.inputs, self._sums = study, harms, study.inputs, sums
        self.weight, self.unexplained = unexplained(study)
        self.first, self.last = lately_of(study, harms)
        block = self.inputs.sample.block
        judged = self.weight > 0
        self._before = np.flatnonzero(block < study.reference)
        self._since = np.flatnonzero((block >= self.first) & (block <= self.last))
        before, since = (self.unexplained[rows[judged[rows]]] for rows in (self._before, self._since))
        self.rise = float(since.mean() - before.mean()) if len(before) and len(since) else 0.0
        self._harmed = bool(study.episodes or harms)
        self._sure: set[str] = set()
        """Columns that surely contribute to the rise."""
        self._stretches = range(int(self.inputs.stretch[self.first]), int(self.inputs.stretch[self.last]) + 1)

    def causes(self, carriers: Sequence[Carrier]) -> list[Cause]:
        """The likeliest causes first, at most twelve; nothing where there are no features."""
        found = list(self._faults())
        found = self._joins(found)
        emptied = any(one.kind in _EMPTYING and one.timing >= _HALF for one in found)
        found += [] if emptied else self._repeats()  # rows that lost what told them apart are equal, not copied
        broken = {name for one in found for name in one.columns if one.timing >= _HALF}
        moved = list(self._drifts(broken))
        found += moved
        # A slice of an input that moved at the onset has not got its inputs as before.
        broken |= {one.subject for one in moved if one.timing >= _HALF and one.subject in self._sure}
        found += self._slices(carriers, broken)
        found += [*self._mixes(broken), *self._versions(), *self._upstream()]
        found += self._misleading(found)
        return ranked(found, harmed=self._harmed)[:MOST]

    @cached_property
    def _judged(self) -> tuple[Mask, Floats, Floats]:
        """Of the sampled rows which are judged, their scores and their labels."""
        rows, sampled = self.study.rows, self.inputs.sample.rows
        scores, label = (rows.taken(one, sampled) for one in (self.study.losses.scores, rows.label))
        return (self.weight > 0) & known_at(rows, sampled), scores, label

    @cached_property
    def blind(self) -> "Blind | None":
        """Copies of the model that are blind to columns; None for lists and chosen classes, and without features."""
        from loopline.monitoring.diagnosis.blind import Blind  # noqa: PLC0415 - two seconds, which only a cause should wait for

        study = self.study
        if study.rows.kind == "ranking" or study.rows.hard or not self.inputs.places:
            return None
        loss = loss_of(study.rows, study.setup.risk.loss)
        judged, scores, label = self._judged
        before, since = (places[judged[places]] for places in (self._before, self._since))
        # Bins first: with the numbers as they are a copy can tell the time by them, and explains the rise by that.
        made = (Blind(read, scores, label, loss.rows, before, since) for read in (self.inputs.coarse, self.inputs.fine))
        return next((one for one in made if one.faithful), None)

    def _share(self, columns: Sequence[str]) -> float | None:
        """How much of the rise these columns account for, once what chance alone would give is taken off."""
        names = list(self.inputs.places)
        places = [names.index(name) for name in columns if name in self.inputs.places]
        if self.blind is None or not places:
            return None
        told = self.blind.share(places)
        if told.contribution > _SURE * told.error:
            self._sure.update(columns)
        sure = max(told.contribution - told.error, 0.0)
        return min(sure / max(self.rise, self.study.setup.risk.tolerance), 1.0)

    def _importance(self, columns: Sequence[str]) -> float:
        return min(sum(self.inputs.importance.get(name, 0.0) for name in columns), 1.0)

    def _faults(self) -> Iterator[Cause]:
        """Broken columns; those that broke in the same way at the same time are one cause."""
        seen: dict[tuple[str, str], dict[int, DataFault]] = {}
        for stretch, faults in self.study.faults.items():
            for fault in faults:
                seen.setdefault((fault.kind, fault.column), {})[stretch] = fault
        for fault in units_since(self.inputs, self._stretches.start, self._stretches[-1]):
            earlier = {
                place: one
                for place, one in seen.get((fault.kind, fault.column), {}).items()
                if place not in self._stretches
            }
            seen[fault.kind, fault.column] = earlier | dict.fromkeys(self._stretches, fault)
        inside = {
            key: min(one for one in told if one in self._stretches) for key, told in seen.items() if self._within(told)
        }
        groups: list[tuple[str, int, list[str]]] = []
        for (kind, column), begin in sorted(inside.items(), key=lambda item: (item[1], item[0])):
            group = next((one for one in groups if one[0] == kind and begin - one[1] <= 1), None)
            if group is None:
                groups.append((kind, begin, [column]))
            else:
                group[2].append(column)
        for kind, _, columns in groups:
            yield self._fault(kind, columns, seen)

    def _within(self, told: dict[int, DataFault]) -> bool:
        return any(stretch in self._stretches for stretch in told)

    def _fault(self, kind: str, columns: list[str], seen: dict[tuple[str, str], dict[int, DataFault]]) -> Cause:
        columns = sorted(columns, key=lambda name: -self.inputs.importance.get(name, 0.0))
        subject = columns[0]
        told = seen[kind, subject]
        inside = [told[stretch] for stretch in self._stretches if stretch in told]
        worst = max(inside, key=lambda fault: abs(fault.value - fault.expected))
        covered = len(inside) / len(self._stretches)
        watched = range(self.inputs.reference, self._stretches.start)
        earlier = sum(stretch in told for stretch in watched) / len(watched) if watched else 0.0
        also = f" So {_are(columns[1:])}." if len(columns) > 1 else ""
        share = self._share(columns)
        return cause(
            kind,
            subject,
            worst.sentence + also + self._accounts(share),
            columns=columns,
            share=share,
            importance=self._importance(columns),
            timing=covered * (1 - earlier),
            picture=fault_picture(self.inputs, subject, kind),
        )

    def _joins(self, faults: list[Cause]) -> list[Cause]:
        """The faults, with what came by the same feed, and columns that no longer belong to their rows."""
        broken = {name for one in faults for name in one.columns if one.timing >= _HALF}
        codes = {name: places for name, places in self.inputs.places.items() if name not in broken}
        told = {name for one in faults for name in one.columns}
        narrow = [
            name
            for name in codes
            if spread_of(codes[name][self._since]) < _FROZEN * spread_of(codes[name][self._before])
        ]
        frozen = [name for name in narrow if name not in told and not self._far(name)]
        faults = self._with_frozen(faults, frozen)
        codes = {name: places for name, places in codes.items() if name not in narrow}
        if not codes:
            return faults
        if self.study.rows.timed:
            at = self.study.rows.taken(self.study.rows.at, self.inputs.sample.rows)
            codes[_CLOCK] = (at % _A_DAY // (_A_DAY // 24)).astype(np.uint8)
        block = self.inputs.sample.block
        between = np.flatnonzero((block >= self.study.reference) & (block < self.first))
        found = broken_links(codes, self._before, self._since, (_CLOCK,), between)
        return faults if found is None else [*faults, self._join(found)]

    def _far(self, name: str) -> bool:
        """Whether a number lies mostly out of the reference's range: all in one bin, it may vary as ever."""
        parts = [
            one.numbers[name]
            for one in self.inputs.profiles[self._stretches.start : self._stretches.stop]
            if name in one.numbers
        ]
        return bool(parts) and sum(one.out_of_range for one in parts) > _HALF * sum(one.rows for one in parts)

    def _with_frozen(self, faults: list[Cause], frozen: Sequence[str]) -> list[Cause]:
        """Columns of few values that stand still belong to the feed that does."""
        if not frozen:
            return faults
        known = next((one for one in faults if one.kind == "stale_feature" and one.timing >= _HALF), None)
        columns = [*(known.columns if known else ()), *frozen]
        columns.sort(key=lambda name: -self.inputs.importance.get(name, 0.0))
        share = self._share(columns)
        if known is not None:
            also = f" So {_are([name for name in columns if name != known.subject])}."
            told = known.sentence.split(". ")[0] + "." + also + self._accounts(share)
        else:
            told = f"{_listed(columns)} hardly var{'ies' if len(columns) == 1 else 'y'} any more: stuck at the source?{self._accounts(share)}"
        made = cause(
            "stale_feature", columns[0], told, columns=columns, share=share, importance=self._importance(columns),
            timing=known.timing if known else 1.0, picture=fault_picture(self.inputs, columns[0], "stale_feature"),
        )  # fmt: skip
        return [*(one for one in faults if one is not known), made]

    def _join(self, found: Broken) -> Cause:
        columns = sorted(found.columns, key=lambda name: -self.inputs.importance.get(name, 0.0))
        share = self._share(columns)
        names = _listed(columns)
        rest = "each other" if found.apart else "the rest of the row"
        sentence = (
            f"{names} no longer go{'es' * (len(columns) == 1)} with {rest}, though the values look as ever: between {found.strongest} there "
            f"were {figure(found.strongest_before)} bits of information, now {figure(found.strongest_since)}. A join may bring values of other rows."
        )
        return cause(
            "skewed_join",
            columns[0],
            sentence + self._accounts(share),
            columns=columns,
            share=share,
            importance=self._importance(columns),
        )

    def _repeats(self) -> Iterator[Cause]:
        yield from repeats(self.study, self._stretches, self._since, self.unexplained, self.rise, self._judged)

    def _drifts(self, broken: set[str]) -> Iterator[Cause]:
        moved = [
            one for one in suspects(self.inputs, self.study.profile, self.first, self.last) if one.column not in broken
        ]
        for one in moved[:_MOST_SUSPECTS]:
            moves = distances(self.inputs, self.study.profile, one.column)
            share = self._share([one.column])
            picture = pictured(self.inputs, "distance from the reference", moves, one.usual)
            yield cause(
                "drift",
                one.column,
                f"{one.sentence}{self._accounts(share)}",
                share=share,
                importance=self._importance([one.column]),
                timing=self._jump(moves),
                picture=picture,
            )

    def _jump(self, values: Floats) -> float:
        """How much of what a figure moved it moved at the onset: 1 where it was as in the reference just before, 0 where it had moved already."""
        start = self._stretches.start
        usual = float(values[: self.inputs.reference].mean())
        since = float(values[start : self._stretches.stop].mean())
        watched = self.inputs.reference if start > self.inputs.reference else 0
        recent = values[max(watched, start - _RECENT) : start]
        if since <= usual or not len(recent):
            return 0.0 if since <= usual else 0.5
        return float(np.clip((since - recent.mean()) / (since - usual), 0.05, 1.0))

    def _slices(self, carriers: Sequence[Carrier], broken: set[str]) -> Iterator[Cause]:
        """Slices whose loss rose though nothing in them is broken."""
        certainty = _BESIDE_FAULTS if broken & self._sure else None
        owner = {name: column for column, names in self.inputs.names.items() for name in names}
        given = {one.slice: (one.share, one.rows_share, one.rise.mean) for one in carriers}
        for harm in self.harms:
            if harm.slice not in given:
                total = max(self.rise, self.study.setup.risk.tolerance)
                given[harm.slice] = (harm.rise * harm.rows_share / total, harm.rows_share, harm.rise)
        told = [(name, *figures) for name, figures in given.items() if owner.get(name) not in broken]
        beyond = {
            name: (min(share, 1.0) - rows_share) / max(1 - rows_share, 0.05) for name, share, rows_share, _ in told
        }
        most = _ALIKE * max(beyond.values(), default=0.0)
        clear = self._clear([name for name in owner if beyond.get(name, -1.0) >= most], owner)
        sure = CERTAINTY["concept"] if certainty is None else certainty
        for name, share, rows_share, rise in told:
            if beyond[name] <= 0:
                continue
            sentence = (
                f"In {name}, {rows_share:.0%} of the rows, the loss rose by {figure(rise)} more than was due, {min(share, 1.0):.0%} of the rise, and its inputs are "
                "as before: what they mean for the label changed there."
            )
            picture = slice_picture(self.inputs, self._sums, name)
            timing = self._jump(np.array(picture.values)) if picture else 1.0
            column = owner.get(name, name)
            yield cause(
                "concept",
                name,
                sentence,
                columns=(column,),
                share=beyond[name],
                timing=timing,
                picture=picture,
                certainty=sure * clear.get(name, 1.0),
            )
        yield from self._cells(told, broken, certainty)

    def _clear(self, names: Sequence[str], owner: Mapping[str, str]) -> Mapping[str, float]:
        """How clearly each of slices that account for as much parts the rows: by what came true beyond the score, where that moved one way, else by the loss. A loss weighs
        rows by how sure the model had been of them, and so speaks for any slice that holds those.
        """
        judged, scores, label = self._judged
        figures = [self.unexplained]
        if self.study.rows.kind in {"binary", "regression"} and not self.study.rows.hard:
            figures.insert(0, label - scores)
        places = {name: self.inputs.names[owner[name]].index(name) for name in names}
        for values in figures:
            parts = (
                Rows(
                    values[own], {name: self.inputs.slices[owner[name]][own] == place for name, place in places.items()}
                )
                for own in (at[judged[at]] for at in (self._before, self._since))
            )
            found = clearest(*parts)
            if found is not None:
                return found
        return {}

    def _cells(
        self, told: Sequence[tuple[str, float, float, float]], broken: set[str], certainty: float | None
    ) -> Iterator[Cause]:
        """Where two columns meet: chosen on every other block, told by the blocks between."""
        if self.rise <= self.study.setup.risk.tolerance:
            return
        inputs, block = self.inputs, self.inputs.sample.block
        names = [name for name in inputs.slices if name not in broken]
        names.sort(key=lambda name: -inputs.importance.get(name, 0.0))
        since = self._since[self.weight[self._since] > 0]
        chosen, kept = since[block[since] % 2 == 0], since[block[since] % 2 == 1]
        if len(chosen) < 1000 or len(kept) < 1000:  # noqa: PLR2004 - too few rows to cut twice
            return
        sizes = {name: len(inputs.names[name]) for name in names}
        centre = float(self.unexplained[chosen].mean())
        slices = {name: inputs.slices[name][chosen] for name in names}
        best = max((one[1] - one[2] for one in told), default=0.0)
        for cell in promising_cells(slices, sizes, self.unexplained[chosen] - centre, names):
            (first, second), (a, b) = cell.columns, cell.places
            inside = (inputs.slices[first] == a) & (inputs.slices[second] == b)
            rows = kept[inside[kept]]
            was = self._before[inside[self._before] & (self.weight[self._before] > 0)]
            if len(rows) < 100 or len(was) < 100:  # noqa: PLR2004 - as above
                continue
            values = self.unexplained[rows]
            rise = float(values.mean() - self.unexplained[was].mean())
            error = float(np.hypot(values.std() / np.sqrt(len(rows)), self.unexplained[was].std() / np.sqrt(len(was))))
            rows_share = len(rows) / len(kept)
            share = rise * rows_share / self.rise
            beyond = (min(share, 1.0) - rows_share) / max(1 - rows_share, 0.05)
            if rise - self.rise < 4 * error or share - rows_share <= 1.1 * best:
                continue
            name = f"{inputs.names[first][a]} and {inputs.names[second][b]}"
            sentence = (
                f"In {name}, {rows_share:.0%} of the rows, the loss rose by {figure(rise)} more than was due, {min(share, 1.0):.0%} of the rise "
                "(seen on blocks that it was not chosen by)."
            )
            yield cause("concept", name, sentence, columns=cell.columns, share=beyond, certainty=certainty)

    def _mixes(self, broken: set[str]) -> Iterator[Cause]:
        inputs, rows, loss = self.inputs, {}, {}
        names = {name: told for name, told in inputs.names.items() if name not in broken and name in inputs.importance}
        for name, told in names.items():
            width, slices = len(told), inputs.slices[name]

            def counted(
                places: Ints, what: Floats, slices: npt.NDArray[np.int16] = slices, width: int = width
            ) -> Floats:
                inside = places[slices[places] >= 0]
                return np.bincount(slices[inside], weights=what[inside], minlength=width).astype(np.float64)

            before, since = counted(self._before, self.weight), counted(self._since, self.weight)
            rows[name] = (before, since)
            loss[name] = counted(self._before, self.unexplained) / np.maximum(before, 1.0)
        total = max(self.rise, self.study.setup.risk.tolerance)
        for one in traffic_mix(names, rows, loss)[:1]:
            share = min(one.effect / total, 1.0)
            if share >= _LEAST_MIX:
                accounts = f": the mix of rows alone accounts for {share:.0%} of the rise" if self._harmed else ""
                sentence = f"{one.slice} makes {one.after:.0%} of the rows, where it made {one.before:.0%}{accounts}."
                timing = (
                    self._jump(distances(self.inputs, self.study.profile, one.column)) if one.column != SCORE else 1.0
                )
                yield cause("traffic_mix", one.slice, sentence, columns=(one.column,), share=share, timing=timing)

    def _versions(self) -> Iterator[Cause]:
        version, rows = self.study.rows.version, self.inputs.sample.rows
        if version is None or self.rise <= 0:
            return
        told = version.at(rows, self.study.rows.shelf)
        since = told.gather(self._since).drop_nulls()
        start = max(0, self.first - 2 * _RECENT)
        block = self.inputs.sample.block
        recent = told.gather(np.flatnonzero((block >= start) & (block < self.first))).drop_nulls()
        if not len(since) or not len(recent):
            return
        now, before = (part.mode().sort()[0] for part in (since, recent))
        if now == before:
            return
        part = float((since == now).mean() or 0.0)
        sentence = (
            f"Version {now} answers {part:.0%} of the rows since, where {before} did before: the rise began with it."
        )
        yield cause("model_version", f"version {now}", sentence, share=part)

    def _misleading(self, found: Sequence[Cause]) -> Iterator[Cause]:
        """Columns that nothing is seen to be wrong with and that the model would do better without since the onset, where nothing else accounts for the rise."""
        told = {
            name: max(one.share or 0.0 for one in found if name in one.columns) for one in found for name in one.columns
        }
        # Without harm of all rows the rise is little, and a season's part of it much.
        enough = _NEARLY_ALL if self.study.episodes else _MUCH
        most = max(told.values(), default=0.0)
        if self.blind is None or most >= enough:
            return
        least = max(_MUCH, _CLEARLY_MORE * most)
        for name in sorted(self.inputs.places, key=lambda name: -self.inputs.importance.get(name, 0.0))[
            :_MOST_SUSPECTS
        ]:
            share = self._share([name])
            if share is not None and name in self._sure and share >= max(least, 2 * told.get(name, 0.0)):
                sentence = (
                    f"Since the onset the model would do better without {name}, though its values look as ever: they may be of other rows, or mean something "
                    f"else now.{self._accounts(share)}"
                )
                yield cause("misleading", name, sentence, share=share, importance=self._importance([name]))

    def _upstream(self) -> Iterator[Cause]:
        """What changed beside the columns; what it reaches tells how much of the rise it may account for."""
        for one in self._changes:
            reached = [name for name in one.columns if name in self.inputs.places]
            share = self._share(reached)
            yield cause(
                one.kind,
                one.subject,
                one.sentence + self._accounts(share),
                columns=reached,
                share=share,
                importance=self._importance(reached),
                timing=one.near,
            )

    def _accounts(self, share: float | None) -> str:
        known = self._harmed and share is not None and share >= 0.01  # noqa: PLR2004 - a percent
        return f" It accounts for {share:.0%} of the rise of the loss." if known else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _are(names: Sequence[str]) -> str:
    return f"{'are' if len(names) > 1 else 'is'} {_listed(names)}"
