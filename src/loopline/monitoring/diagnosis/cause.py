"""A cause that may explain a harm, and which of several comes first."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

CERTAINTY: Mapping[str, float] = {
    "unit_change": 1.0,
    "category_split": 1.0,
    "category_rename": 1.0,
    "category_merge": 1.0,
    "stale_feature": 1.0,
    "skewed_join": 1.0,
    "duplicated_rows": 1.0,
    "null_rate": 1.0,
    "constant": 1.0,
    "stuck": 1.0,
    "out_of_range": 0.9,
    "unseen_categories": 0.9,
    "model_version": 0.8,
    "table_version": 0.8,
    "concept": 0.5,
    "misleading": 0.4,
    "traffic_mix": 0.6,
    "drift": 0.4,
}
"""How surely something is wrong where such a cause is seen at all: a unit does not change by itself, an input drifts by the season."""

REMEDIES: Mapping[str, str] = {
    "unit_change": "Convert it where it is read, and score the rows since again; do not retrain on it.",
    "category_split": "Map the new values to the old one where it is read; do not retrain on it.",
    "category_rename": "Map the new value to the old one where it is read; do not retrain on it.",
    "category_merge": "Ask the source whether both are meant to be one; retrain if so.",
    "stale_feature": "Restart the feed behind it; until then let the fallback answer where it matters.",
    "skewed_join": "Check the keys and times by which it is joined; do not retrain on it.",
    "duplicated_rows": "Find the job that ran twice and take the copies out, of the labels too.",
    "null_rate": "Find where the values are lost; do not retrain on it.",
    "constant": "Check the source behind it; do not retrain on it.",
    "stuck": "See what answers instead of the model.",
    "out_of_range": "Look for a sentinel or another unit; do not retrain on it.",
    "unseen_categories": "Tell the model of the new values: retrain once there are enough labels.",
    "model_version": "Roll back to the version before.",
    "table_version": "Look at what the source gave then; ask for those windows again once it is right, and do not retrain on them.",
    "concept": "Retrain on what came since; until then decide these rows by hand or by a rule.",
    "misleading": "Check that its values are of the same rows as before and mean the same; if they do, retrain on what came since.",
    "traffic_mix": "Find out where these rows come from; retrain if they stay.",
    "drift": "Retrain if it stays.",
}

BROKEN = frozenset(
    {
        "unit_change",
        "category_split",
        "category_rename",
        "stale_feature",
        "stale",
        "skewed_join",
        "duplicated_rows",
        "repeated",
        "null_rate",
        "constant",
        "out_of_range",
    }
)
"""Causes for which a new model is no remedy: the data are broken, and one that is trained on them learns that."""

KINDS = frozenset(CERTAINTY) | BROKEN
"""Every kind of cause that a diagnosis can name."""

_LEAST_SHARE = 0.02
_LEAST_SHARE_OF_SURE = 0.05
_SURE = 0.9


class Picture(msgspec.Struct, frozen=True):
    """What a cause is seen in, stretch by stretch: `values` over the blocks that `first` names the first of; `usual` is where it lay in the reference."""

    label: str
    first: tuple[int, ...]
    values: tuple[float, ...]
    usual: float


class Cause(msgspec.Struct, frozen=True):
    """A likely cause. `subject` is the column, slice or version it is about, `columns` all that are part of it.

    `share` is how much of the rise of the loss it accounts for, in [0, 1], None where that cannot be told; `timing` is how well its beginning
    fits that of the harm, in [0, 1]. `score` ranks it: certainty x timing x share.
    """

    kind: str
    subject: str
    columns: tuple[str, ...]
    share: float | None
    timing: float
    score: float
    sentence: str
    remedy: str
    picture: Picture | None = None


def cause(
    kind: str,
    subject: str,
    sentence: str,
    *,
    columns: Sequence[str] = (),
    share: float | None,
    importance: float = 0.0,
    timing: float = 1.0,
    picture: Picture | None = None,
    certainty: float | None = None,
) -> Cause:
    """A cause with its score. Where `share` is not known, or hardly to be told from nothing, `importance` in [0, 1] stands for a tenth of it.

    `certainty` is that of the kind where it is not given.
    """
    sure = CERTAINTY[kind] if certainty is None else certainty
    counted = max(share or 0.0, importance / 10, _LEAST_SHARE_OF_SURE if sure >= _SURE else _LEAST_SHARE)
    score = sure * timing * min(counted, 1.0)
    return Cause(kind, subject, tuple(columns) or (subject,), share, timing, score, sentence, REMEDIES[kind], picture)


def ranked(causes: Iterable[Cause], *, harmed: bool = True) -> list[Cause]:
    """The likeliest first. Where nothing is `harmed` there is no rise that moves and mixes could account for: what is broken comes before them."""

    def place(one: Cause) -> tuple[bool, float, str, str]:
        return not harmed and one.kind not in BROKEN, -one.score, one.subject, one.kind

    return sorted(causes, key=place)
