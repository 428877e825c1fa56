"""Part (a): faults planted in served models' streams; who pages, how soon, how often falsely, and what it calls the cause."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from watching.contestants import Contestant
from watching.faults import ISSUE, Planted, plant
from watching.rounds import Answer, Rounds, Runner
from watching.streams import Stream, log_losses

_TOLERANCE = 0.02


@dataclass(frozen=True)
class Trial:
    """A fault of one seed, who looked at it, and what came of it. `delay` is in rows, None where it was not found; `rank` of the true cause is
    that of the whole stream's end, `rank_at_page` what is told on the day of the page; `sentence` and `sentence_at_page` are of the first cause.
    """

    stream: str
    kind: str
    seed: int
    cost: float
    costly: bool
    contestant: str
    false_pages: int
    rows_before: int
    delay: int | None
    rank: int | None
    seconds: float
    sentence: str = ""
    rank_at_page: int | None = None
    sentence_at_page: str = ""


def trials(rounds: Rounds, part: str, streams: Mapping[str, Callable[[], Stream]], seeds: Sequence[int]) -> None:
    """Every fault of every seed, by everybody; peers get the first seeds of the plan, all kinds of one seed before the next."""
    plan = rounds.plan
    for name, make in streams.items():
        stream = cache(make)
        for seed in seeds:
            for kind in ISSUE:
                planted = cache(partial(_planted, stream, kind, seed))
                for runner in rounds.runners:
                    if runner.contestant.role == "peer" and not (
                        seed < plan.peer_seeds and kind in (plan.peer_kinds or ISSUE)
                    ):
                        continue
                    rounds.ask(
                        (part, f"{name} {kind} {seed}"),
                        runner,
                        partial(_asked, stream, planted, runner.contestant, rounds.folder),
                        partial(_told, stream, planted, seed, runner, rounds),
                        Trial,
                    )


def _planted(stream: Callable[[], Stream], kind: str, seed: int) -> Planted:
    return plant(stream(), kind, seed)


def _asked(
    stream: Callable[[], Stream], planted: Callable[[], Planted], contestant: Contestant, folder: Path
) -> dict[str, Any]:
    return _task(stream(), planted(), contestant, folder)


def _told(
    stream: Callable[[], Stream],
    planted: Callable[[], Planted],
    seed: int,
    runner: Runner,
    rounds: Rounds,
    answer: Answer,
) -> Trial:
    trial = _judged(stream(), planted(), seed, runner.contestant, answer)
    if runner.contestant.role == "peer":
        return replace(trial, rank_at_page=trial.rank)
    if trial.delay is None:
        return trial
    # Whoever is paged looks on that day: what came later is not known then.
    task = _task(stream(), planted(), runner.contestant, rounds.folder, until=planted().first + trial.delay)
    then = runner.run({**task, "reference_blocks": answer["reference_blocks"]}, rounds.folder, rounds.plan.patience)
    causes = then["causes"]
    return replace(trial, rank_at_page=_rank(causes, planted()), sentence_at_page=_first(causes))


def _task(
    stream: Stream, planted: Planted, contestant: Contestant, folder: Path, until: int | None = None
) -> dict[str, Any]:
    """All get the same reference, the first 30 % of the days, and then the days that follow, or weeks; of the first `until` rows."""
    rows = planted.frame.select("at", "score", "label", *stream.features)[:until]
    where = folder / "stream.parquet"
    rows.write_parquet(where)
    if contestant.name == "river":
        rows.select("score", "label").write_csv(where.with_suffix(".csv"))
    days = rows["at"].dt.truncate("1d").rle_id().to_numpy()
    ends = np.flatnonzero(np.diff(days)) + 1
    cut = round(0.3 * len(ends))
    numbers = [name for name in stream.features if rows[name].dtype.is_numeric()]
    return {
        "mode": "faults",
        "stream": str(where),
        "reference": int(ends[cut - 1]),
        "ends": [int(end) for end in ends[cut + contestant.chunk - 1 :: contestant.chunk]],
        "numbers": numbers,
        "categories": [name for name in stream.features if name not in numbers],
    }


def _judged(stream: Stream, planted: Planted, seed: int, contestant: Contestant, answer: Answer) -> Trial:
    before = [page for page in answer["pages"] if page["row"] <= planted.first]
    after = [page for page in answer["pages"] if page["row"] > planted.first]
    right = [page for page in after if _right(page, planted)]
    delay = right[0]["row"] - planted.first if right else None
    level = float(
        log_losses(
            planted.frame["score"].to_numpy()[: planted.first], planted.frame["label"].to_numpy()[: planted.first]
        ).mean()
    )
    causes = answer.get("causes", [])
    if contestant.role == "ours":
        rank = _rank(causes, planted)
    else:
        columns = right[0]["columns"] if right else []
        rank = next((place + 1 for place, name in enumerate(columns) if name in planted.truth), None)
        rank = None if planted.kind == "concept" else rank
    return Trial(
        stream.name, planted.kind, seed, planted.cost, planted.cost > _TOLERANCE * level, contestant.name, len(before),
        planted.first, delay, rank, answer["seconds"], _first(causes),
    )  # fmt: skip


def _right(page: dict[str, Any], planted: Planted) -> bool:
    """Whether a page can be of this fault: of the model's loss, or of an input that is broken."""
    if page["kind"] in {"harm", "drift", "performance or quality"}:
        return True
    if page["kind"] == "slice":
        return planted.kind != "concept" or page["columns"] == [f"{planted.truth[0]}={planted.value}"]
    return bool(set(page["columns"]) & set(planted.truth))


def _first(causes: Sequence[dict[str, Any]]) -> str:
    return str(causes[0]["sentence"]) if causes else ""


def _rank(causes: Sequence[dict[str, Any]], planted: Planted) -> int | None:
    return next((place + 1 for place, one in enumerate(causes) if _is_cause(one, planted)), None)


def _is_cause(told: dict[str, Any], planted: Planted) -> bool:
    if planted.kind == "concept":
        return told["kind"] == "concept" and told["subject"] == f"{planted.truth[0]}={planted.value}"
    return told["kind"] in planted.kinds and bool(set(told["columns"]) & set(planted.truth))
