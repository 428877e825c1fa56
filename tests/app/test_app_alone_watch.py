"""`loopline watch` on files as people have them: the same answer however they are written."""

import xml.dom.minidom
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from loopline.app.alone.page import watch_html
from loopline.app.alone.watch import watch_files
from loopline.app.study.calibration import Prices
from loopline.app.study.columns import Said
from loopline.app.study.fresh import Request
from loopline.errors import InvalidInput, NotFound

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

HARMED = data.service(harm=30, kind="concept")
P, L = HARMED.predictions, HARMED.labels
ONSET = data.START + timedelta(days=30)


def watch(folder, predictions, labels=None, *, write="parquet", **asked):
    paths = []
    for name, frame in (("predictions", predictions), ("labels", labels)):
        path = folder / f"{name}.{write}"
        if frame is not None:
            getattr(
                frame,
                {"parquet": "write_parquet", "csv": "write_csv", "jsonl": "write_ndjson", "json": "write_json"}[write],
            )(path)
        paths.append(str(path) if frame is not None else None)
    return watch_files(Request(paths[0], paths[1], name="service", **asked), lambda *_: None)


def harmed_at_the_onset(watched):
    return watched.verdict == "harm" and abs(watched.harm.episodes[-1].since - ONSET) <= timedelta(days=2)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    return watch(tmp_path_factory.mktemp("plain"), P, L)


def test_a_planted_harm_is_found_with_its_onset_and_its_size(watched):
    assert harmed_at_the_onset(watched)
    late = P.join(L, on="prediction_id").filter(pl.col("predicted_at") > ONSET)
    p, y = late["score"].to_numpy(), late["label"].to_numpy()
    loss = -np.log(np.where(y == 1, p, 1 - p)).mean()
    [episode] = watched.harm.episodes
    assert episode.loss.mean == pytest.approx(loss, rel=0.03)
    assert episode.excess.lower > 0
    assert episode.until is None


def test_the_slice_that_carries_it_is_named(watched):
    assert watched.why.carriers[0].slice == "region=east"
    assert watched.why.carriers[0].share > 0.8


def test_without_harm_there_is_none(tmp_path):
    service = data.service()
    found = watch(tmp_path, service.predictions, service.labels)
    assert (found.verdict, found.harm.alarms) == ("fine", 0)
    assert not found.why.faults


def test_a_shift_of_inputs_is_no_harm_and_is_named(tmp_path):
    service = data.service(harm=30, kind="shift")
    found = watch(tmp_path, service.predictions, service.labels)
    assert found.verdict == "fine"
    assert found.why.suspects[0].column == "amount"
    assert found.why.importance["amount"] > 0.9
    assert found.why.importance["region"] < 0.01


def test_bad_days_do_not_hide_a_harm(tmp_path):
    """On some days all goes wrong, which the model cannot know; each day's level is taken out. The harm is an order turned."""
    rng = np.random.default_rng(0)
    count, days = 24_000, 80
    place = np.sort(rng.uniform(0, days, count))
    z = rng.normal(-1, 1, count)
    bad = rng.normal(0, 1.2, days)[place.astype(int)]
    meant = np.where(place >= 55, 0.3 * (z + 1) - 1, z)
    at = pl.Series((place * data.DAY).astype(np.int64)).cast(pl.Duration("us")) + data.START
    label = rng.random(count) < data.sigmoid(meant + bad)
    found = watch(tmp_path, pl.DataFrame({"predicted_at": at, "score": data.sigmoid(z), "label": label}))
    assert "level taken out" in found.headline
    assert found.verdict == "harm"
    assert abs(found.harm.episodes[-1].since - data.START - timedelta(days=55)) <= timedelta(days=3)


def test_an_input_that_goes_missing_is_harm_with_its_cause(tmp_path):
    """The scores that remain are honest, so that only the fault tells harm from a narrower world."""
    service = data.service(harm=30, kind="missing")
    found = watch(tmp_path, service.predictions, service.labels)
    assert harmed_at_the_onset(found)
    assert {(one.column, one.kind) for one in found.why.faults} >= {("amount", "null_rate"), ("the score", "stuck")}


def _times(change):
    return lambda p, labels: (p.with_columns(change(pl.col("predicted_at"))), labels)


def _labels(change):
    return lambda p, labels: (p, labels.with_columns(label=change(pl.col("label"))))


def _scores(change):
    return lambda p, labels: (p.with_columns(score=change(pl.col("score"))), labels)


SAME = {
    "naive": _times(lambda at: at.dt.replace_time_zone(None)),
    "seconds": _times(lambda at: at.dt.epoch("s")),
    "milliseconds": _times(lambda at: at.dt.epoch("ms")),
    "fractions of seconds": _times(lambda at: at.dt.epoch("us") / 1e6),
    "text": _times(lambda at: at.dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "text with a zone": _times(lambda at: at.dt.convert_time_zone("Asia/Tokyo").dt.strftime("%Y-%m-%d %H:%M:%S%z")),
    "days": _times(lambda at: at.dt.date()),
    "booleans": _labels(lambda label: label.cast(pl.Boolean)),
    "minus one": _labels(lambda label: 2 * label - 1),
    "words": _labels(lambda label: pl.when(label == 1).then(pl.lit("late")).otherwise(pl.lit("on time"))),
    "gaps": _labels(
        lambda label: pl.when(pl.int_range(pl.len()) % 9 == 0).then(float("nan")).otherwise(label.cast(pl.Float64))
    ),
    "percent": _scores(lambda score: (100 * score).round(3).cast(pl.String) + "%"),
    "margins": _scores(lambda score: (score / (1 - score)).log()),
    "holes": _scores(lambda score: pl.when(pl.int_range(pl.len()) % 20 == 0).then(float("inf")).otherwise(score)),
    "corrections": lambda p, labels: (
        p,
        pl.concat(
            [
                labels,
                labels.with_columns(
                    label=1 - pl.col("label"), labelled_at=pl.col("labelled_at") - pl.duration(hours=1)
                ),
            ]
        ),
    ),
    "repeated rows": lambda p, labels: (pl.concat([p, p.head(2000)]), labels),
    "orphans": lambda p, labels: (
        p,
        pl.concat([labels, labels.head(99).with_columns(prediction_id="no" + pl.col("prediction_id"))]),
    ),
    "two columns": lambda p, labels: (
        p.select(pl.exclude("score"), proba_0=1 - pl.col("score"), proba_1="score"),
        labels,
    ),
    "numbers and texts": lambda p, labels: (
        p.with_columns(prediction_id=pl.col("prediction_id").str.slice(1).cast(pl.Int64)),
        labels.with_columns(prediction_id=pl.col("prediction_id").str.slice(1).cast(pl.Int64).cast(pl.String)),
    ),
    "one file": lambda p, labels: (p.join(labels, on="prediction_id", maintain_order="left"), None),
    "other names": lambda p, labels: (
        p.rename({"prediction_id": "requestId", "predicted_at": "Timestamp", "score": "Probability"}),
        labels.rename({"prediction_id": "requestId", "label": "churned", "labelled_at": "updated_at"}),
    ),
    "constant columns": lambda p, labels: (p.with_columns(one=pl.lit(1), none=pl.lit(None, dtype=pl.Float64)), labels),
}


@pytest.mark.parametrize("case", SAME)
def test_the_answer_does_not_depend_on_how_it_is_written(tmp_path, case):
    assert harmed_at_the_onset(watch(tmp_path, *SAME[case](P, L)))


@pytest.mark.parametrize("write", ["csv", "jsonl", "json"])
def test_every_format_gives_the_same_figures(tmp_path, write, watched):
    found = watch(tmp_path, P, L, write=write)
    assert [one.loss for one in found.blocks] == pytest.approx([one.loss for one in watched.blocks])


def test_folders_and_patterns_are_read_as_one(tmp_path, watched):
    for number, part in enumerate(P.iter_slices(7000)):
        (tmp_path / f"day={number}").mkdir()
        part.write_parquet(tmp_path / f"day={number}" / "part.parquet")
    L.write_parquet(tmp_path / "labels.parquet")
    for where in (f"{tmp_path}/day=*/*.parquet", f"{tmp_path}/day=*/part.parquet"):
        found = watch_files(Request(where, str(tmp_path / "labels.parquet")), lambda *_: None)
        assert [one.loss for one in found.blocks] == pytest.approx([one.loss for one in watched.blocks])


def test_rows_without_times_are_taken_in_their_order(tmp_path):
    found = watch(tmp_path, P.drop("predicted_at"), L.drop("labelled_at"))
    assert found.verdict == "harm"
    assert "row 12,001" in found.headline or "row 11,801" in found.headline or "row 12,201" in found.headline


def test_a_single_day_is_enough(tmp_path):
    day = P.with_columns(predicted_at=pl.lit(data.START) + (pl.col("predicted_at") - data.START) / 60)
    found = watch(tmp_path, day, L.drop("labelled_at"))
    assert found.setup.risk.block == "15m"
    assert abs(found.harm.episodes[-1].since - data.START - timedelta(hours=12)) <= timedelta(hours=1)


def test_labels_that_are_still_to_come_are_waited_for(tmp_path, watched):
    """Only what is due is judged: the last day's labels come within three days."""
    slow = data.service(harm=30, kind="concept", hours=24.0)
    end = data.START + timedelta(days=50)
    found = watch(tmp_path, slow.predictions, slow.labels.filter(pl.col("labelled_at") < end))
    assert found.coverage.matures == pytest.approx(3 * 86_400, rel=0.1)
    assert 46 <= len(found.blocks) <= 47
    assert found.coverage.share > 0.94
    assert found.coverage.waiting > 1000


def test_predictions_that_wait_are_estimated_and_labels_confirm_it(tmp_path):
    """Their inputs shifted, so that even a sound model loses more; that is told before one of their labels is there."""
    made = data.service(harm=44, kind="shift", hours=24.0, seed=1)
    end = data.START + timedelta(days=44)
    found = watch(tmp_path, made.predictions, made.labels.filter(pl.col("labelled_at") < end)).unlabelled
    assert (found.method, found.rows > 2000) == ("pape", True)
    hidden = made.predictions.join(made.labels, on="prediction_id").filter(pl.col("predicted_at") > end)
    p, y = hidden["score"].to_numpy(), hidden["label"].to_numpy()
    assert found.lower <= float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()) <= found.upper
    assert found.loss == pytest.approx(float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()), abs=0.015)
    assert "more than in the reference" in found.sentences[0]
    assert "only in labels" in found.sentences[1]


def test_the_earlier_model_is_asked_on_the_same_rows(tmp_path):
    """It had no use for the amount, so that the harm does not touch it."""
    ids = P.select("prediction_id", score=pl.lit(0.33)).sample(fraction=1, shuffle=True, seed=1)
    ids.write_parquet(tmp_path / "earlier.parquet")
    version = pl.when(pl.col("predicted_at") > ONSET).then(pl.lit("7")).otherwise(pl.lit("6"))
    found = watch(tmp_path, P.with_columns(model_version=version), L, earlier=str(tmp_path / "earlier.parquet"))
    assert found.earlier.answer == "yes"
    late = P.join(L, on="prediction_id").filter(pl.col("predicted_at") > ONSET)
    y, p = late["label"].to_numpy(), late["score"].to_numpy()
    gap = (-np.log(np.where(y == 1, 0.33, 0.67)) + np.log(np.where(y == 1, p, 1 - p))).mean()
    assert found.earlier.difference is not None
    assert found.earlier.difference.mean == pytest.approx(gap, abs=0.004)
    assert [(one.before, one.after) for one in found.earlier.changes] == [("6", "7")]
    assert any("6 to 7" in sentence for sentence in found.earlier.sentences)


def test_decisions_have_their_price(tmp_path):
    found = watch(tmp_path, P, L, prices=Prices(1, 4, 0.5))
    assert found.costs is not None
    first = P.join(L, on="prediction_id").filter(pl.col("predicted_at") <= data.START + timedelta(days=15))
    acts, y = first["score"].to_numpy() >= 0.5, first["label"].to_numpy() == 1
    assert found.costs.before.mean == pytest.approx(1000 * (acts & ~y).mean() + 4000 * (~acts & y).mean(), rel=0.02)


def test_absence_can_mean_no(tmp_path):
    found = watch(tmp_path, P, L.filter(pl.col("label") == 1), absent="negative", matures="4d")
    assert harmed_at_the_onset(found)


def _kinds():
    rng = np.random.default_rng(1)
    x, late = P["amount"].to_numpy(), (P["predicted_at"] > ONSET).to_numpy()
    at = P.select("prediction_id", "predicted_at", "amount", "region")
    value = 3 * x + rng.normal(size=len(P)) + np.where(late, 0.7, 0.0)
    named = pl.DataFrame({"prediction_id": P["prediction_id"], "y": value})
    logits = np.column_stack([x, -x, np.zeros(len(P))])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = np.where(late[:, None], (p + p[:, ::-1]) / 2, p)
    drawn = (rng.random(len(P))[:, None] > true.cumsum(axis=1)).sum(axis=1)
    classes = pl.DataFrame({"prediction_id": P["prediction_id"], "label": np.array(["cat", "dog", "owl"])[drawn]})
    grades = np.clip(np.round(x + rng.normal(size=len(P)) * np.where(late, 3, 1)), 0, 4)
    ranked = pl.DataFrame({"prediction_id": P["prediction_id"], "relevance": grades})
    lists = at.with_columns(score=pl.Series(x), query=pl.Series(np.arange(len(P)) // 8))
    quantiles = {f"q{level}": 3 * x + z for level, z in ((10, -1.28), (50, 0.0), (90, 1.28))}
    return {
        "regression": (at.with_columns(prediction=pl.Series(3 * x)), named, {}),
        "quantile": (at.with_columns(**{name: pl.Series(one) for name, one in quantiles.items()}), named, {}),
        "multiclass": (
            at.with_columns(**{f"score_{name}": pl.Series(p[:, i]) for i, name in enumerate(["cat", "dog", "owl"])}),
            classes,
            {},
        ),
        "ranking": (lists, ranked, {"kind": "ranking", "said": Said(group="query")}),
    }


@pytest.mark.parametrize("kind", ["regression", "quantile", "multiclass", "ranking"])
def test_every_kind_of_model_is_watched(tmp_path, kind):
    predictions, labels, asked = _kinds()[kind]
    found = watch(tmp_path, predictions, labels, **asked)
    assert found.setup.kind == kind
    assert harmed_at_the_onset(found)


def test_chosen_classes_are_right_or_wrong(tmp_path):
    found = watch(tmp_path, P.select(pl.exclude("score"), prediction=(pl.col("score") > 0.5).cast(pl.Int8)), L)
    assert found.setup.risk.loss == "zero_one"
    assert harmed_at_the_onset(found)


def test_the_report_is_one_page_and_the_answer_is_json(watched):
    page = watch_html(watched)
    xml.dom.minidom.parseString(page.partition("\n")[2])
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") >= 4
    assert watched.headline in page
    assert msgspec.json.decode(msgspec.json.encode(watched))["verdict"] == "harm"


def test_a_report_says_what_a_name_says_and_no_more(tmp_path):
    found = watch(tmp_path, P.rename({"region": "<b>&\"'"}), L)
    xml.dom.minidom.parseString(watch_html(found).partition("\n")[2])


REFUSED = {
    "alone.one_class": lambda p, labels: (p, labels.with_columns(label=pl.lit(0)), {}),
    "alone.too_few": lambda p, labels: (p.head(100), labels, {}),
    "alone.nothing_joined": lambda p, labels: (p, labels.with_columns(prediction_id="x" + pl.col("prediction_id")), {}),
    "alone.no_label": lambda p, labels: (p, None, {}),  # noqa: ARG005
    "alone.no_score": lambda p, labels: (p.select("prediction_id", "predicted_at", "region"), labels, {}),
    "alone.no_column": lambda p, labels: (p, labels, {"said": Said(score=("nothing",))}),
    "alone.no_id": lambda p, labels: (p, labels.rename({"prediction_id": "other"}), {}),
    "alone.bad_reference": lambda p, labels: (p, labels, {"reference_until": "2030-01-01"}),
    "alone.bad_moment": lambda p, labels: (p, labels, {"reference_until": "soon"}),
    "alone.no_time": lambda p, labels: (p, labels, {"said": Said(at="region")}),
    "alone.absent_unclear": lambda p, labels: (p, labels.drop("labelled_at"), {"absent": "negative"}),
    "alone.no_scores": lambda p, labels: (p.with_columns(score=pl.lit(float("nan"))), labels, {}),
    "alone.no_positive": lambda p, labels: (p, labels, {"positive": "maybe"}),
    "loss.other_kind": lambda p, labels: (p, labels, {"loss": "pinball"}),
    "duration.unreadable": lambda p, labels: (p, labels, {"block": "soon"}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_cannot_be_watched_is_refused_with_a_remedy(tmp_path, code):
    predictions, labels, asked = REFUSED[code](P, L)
    with pytest.raises((InvalidInput, NotFound)) as refused:
        watch(tmp_path, predictions, labels, **asked)
    assert refused.value.code == code
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("p.parquet", b"none", "alone.unreadable"),
        ("p.csv", b"", "alone.unreadable"),
        ("p.csv", b"a,b\n", "alone.empty"),
        ("p.txt", b"a", "alone.unknown_format"),
    ],
)
def test_files_that_hold_nothing_are_refused(tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        watch_files(Request(str(tmp_path / name)), lambda *_: None)
    assert refused.value.code == code


def test_files_that_are_not_there_are_not_found(tmp_path):
    with pytest.raises(NotFound, match="no file"):
        watch_files(Request(str(tmp_path / "none-*.parquet")), lambda *_: None)
