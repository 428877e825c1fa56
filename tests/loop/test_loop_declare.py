"""Every mistake in a declaration names the file and the line it stands on."""

import polars as pl
import pytest

import loopline as ll
from loopline.errors import DeclarationError
from loopline.features.definitions import Aggregate, LatestView, WindowView

HEAD = """
import polars as pl
import loopline as ll
loop = ll.Loop("flights")
@loop.source(key="flight", event_time="left", known_at="told")
def departures(window): ...
@loop.source(key="flight", event_time="seen", known_at="seen")
def arrivals(window): ...
late = ll.label(arrivals, pl.col("delay") > 15, matures="2d")
delays = arrivals.features(by="carrier", d=ll.mean("delay", over="1d"))
"""

MODEL = """
@loop.model(on=departures, at="left", features=["distance"], label=late)
def model(train, params): ...
"""

OPERATE = 'decide=ll.costs(1, 4), promote=[], watch=ll.Risk("log_loss")'

MISTAKES = {
    "loop.bad_name": ["other = ll.Loop('two words')  # here", "other = ll.Loop('')  # here"],
    "duration.unreadable": [
        "other = ll.Loop('other', turn='daily')  # here",
        "@loop.source(key='k', event_time='e', known_at='e', every='sometimes')  # here\ndef more(window): ...",
        "ll.mean('delay', over=['3h', 'week'])  # here",
        "ll.count('delay', over='-3h')  # here",
        "arrivals.latest('delay', by='carrier', max_age='1 hour')  # here",
        "ll.label(arrivals, pl.col('delay') > 15, matures='soon')  # here",
        "@loop.model(on=departures, at='left', features=['x'], label=late, holdout='a week')  # here\ndef m(t, p): ...",
        MODEL + f"loop.operate(model, {OPERATE}, first_after='later')  # here",
        MODEL + "ll.retrain(cooldown='a while')  # here",
        MODEL + "ll.every('month', ll.retrain)  # here",
    ],
    "operate.no_prices": [
        MODEL + f"loop.operate(model, {OPERATE}, {pays})  # here"
        for pays in (
            "respond=[ll.on(ll.harm & ll.retraining_pays('30d'), ll.retrain)]",
            "respond=[ll.on(ll.harm, ll.retrain(unless=~ll.retraining_pays('30d')))]",
            "compare={'pays': [ll.on(ll.retraining_pays('30d'), ll.retrain)]}",
        )
    ],
    "operate.prices": ["ll.prices(loss=0, retrain=1)  # here"],
    "playbook.cause": ["ll.cause('gremlins')  # here"],
    "playbook.floor": ["ll.retrain(cooldown='7d', at_least_every='3d')  # here"],
    "model.one_label_a_row": [
        "@loop.model(on=departures, at='left', features=['x'], label=late, kind='multioutput')  # here\ndef m(t, p): ...",
    ],
    "loop.empty_turn": ["other = ll.Loop('other', turn='0s')  # here"],
    "features.empty_window": [
        "arrivals.features(by='carrier', delay=ll.mean('delay', over='0h'))  # here",
        "arrivals.latest('delay', by='carrier', max_age='0s')  # here",
    ],
    "features.unnamed": ["arrivals.features(by='carrier')  # here", "arrivals.latest(by='carrier')  # here"],
    "label.unknown_absence": ["ll.label(arrivals, pl.col('delay') > 15, matures='2d', absent='maybe')  # here"],
    "source.declared_twice": [
        "@loop.source(key='k', event_time='e', known_at='e')  # here\ndef arrivals(window): ...",
    ],
    "source.no_key": ["@loop.source(key=(), event_time='e', known_at='e')  # here\ndef more(window): ..."],
    "source.undeclared_column": [
        "@loop.source(key='k', event_time='e', known_at='e', columns={'k': pl.String})  # here\ndef more(window): ...",
    ],
    "model.declared_twice": [MODEL + MODEL.replace("label=late)", "label=late)  # here")],
    "model.bad_fallback": [
        f"@loop.model(on=departures, at='left', features=['x'], label=late, fallback={value})  # here\ndef m(t, p): ..."
        for value in ("float('nan')", "1.01", "-0.1", "float('inf')")
    ],
    "model.not_a_feature": [
        "@loop.model(on=departures, at='left', features=[3], label=late)  # here\ndef m(t, p): ...",
        "@loop.model(on=departures, at='left', features=[arrivals], label=late)  # here\ndef m(t, p): ...",
        "@loop.model(on=departures, at='left', features=[ll.mean('x', over='1d')], label=late)  # here\ndef m(t, p): ...",
    ],
    "model.feature_twice": [
        "@loop.model(on=departures, at='left', features=['x', 'x'], label=late)  # here\ndef m(t, p): ...",
        "@loop.model(on=departures, at='left', features=['x', ll.category('x')], label=late)  # here\ndef m(t, p): ...",
        "@loop.model(on=departures, at='left', label=late, features=['carrier_d_1d', delays])  # here\ndef m(t, p): ...",
    ],
    "model.no_features": ["@loop.model(on=departures, at='left', features=[], label=late)  # here\ndef m(t, p): ..."],
    "operate.not_a_model": [f"loop.operate(arrivals, {OPERATE})  # here"],
    "operate.declared_twice": [MODEL + f"loop.operate(model, {OPERATE})\nloop.operate(model, {OPERATE})  # here"],
    "operate.bad_policy": [
        MODEL + f"loop.operate(model, {OPERATE}, compare={{{name!r}: []}})  # here"
        for name in ("loop", "once a month", "")
    ],
    "playbook.not_a_condition": ["ll.on(True, ll.retrain)  # here"],
    "playbook.empty_period": ["ll.every('0s', ll.retrain)  # here"],
    "playbook.no_growth": ["ll.grown(1)  # here"],
    "decision.costs": ["ll.costs(false_positive=0, false_negative=1)  # here"],
    "monitor.risk": ["ll.Risk('log_loss', tolerance=0)  # here"],
    "loss.unknown": ["ll.better('auc')  # here", "ll.not_worse('auc', by='carrier')  # here", "ll.Risk('auc')  # here"],
    "gate.confidence": ["ll.better('log_loss', confidence=2)  # here"],
}


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in MISTAKES.items() for text in texts], ids=lambda value: value[:60]
)
def test_a_mistake_names_its_file_and_line(code, text, refused):
    assert refused(HEAD + text).code == code


def test_a_mistake_outside_of_a_loop_file_names_its_line_too():
    with pytest.raises(DeclarationError) as caught:
        ll.Loop("two words")
    assert caught.value.context["file"] == __file__
    with pytest.raises(DeclarationError) as caught:
        ll.mean("x", over="week")
    assert caught.value.context["file"] == __file__


def test_a_mistake_leaves_the_loop_as_it_was():
    loop = ll.Loop("flights")

    def again(window): ...

    with pytest.raises(DeclarationError):
        loop.source(key="k", event_time="e", known_at="e", every="never")(again)
    arrivals = loop.source(key="k", event_time="e", known_at="e")(again)
    label = ll.label(arrivals, pl.col("delay") > 15, matures="2d")

    def fit(train, params): ...

    for features in ([], ["x", "x"], [3]):
        with pytest.raises(DeclarationError):
            loop.model(on=arrivals, at="e", features=features, label=label)(fit)
    assert loop.models == {}
    loop.model(on=arrivals, at="e", features=["x"], label=label)(fit)
    assert list(loop.models) == ["fit"]


def test_what_is_declared_is_what_was_said():
    loop = ll.Loop("flights")

    @loop.source(key=("origin", "hour"), event_time="hour", known_at="hour", known="assumed", personal=["pilot"])
    def weather(window): ...

    @loop.source(key="flight", event_time="left", known_at="told", tombstone="gone", every="10m")
    def departures(window): ...

    delays = departures.features(by="carrier", delay=ll.mean("late", over=["3h", "7d"]), n=ll.count("late", over="1d"))
    sky = weather.latest("wind", "rain", by="origin", max_age="3h")
    assert delays == WindowView(
        table="flights.departures",
        by="carrier",
        features={
            "carrier_delay_3h": Aggregate("mean", "late", "3h"),
            "carrier_delay_7d": Aggregate("mean", "late", "7d"),
            "carrier_n_1d": Aggregate("count", "late", "1d"),
        },
    )
    assert sky == LatestView(
        table="flights.weather", by="origin", features={"origin_wind": "wind", "origin_rain": "rain"}, max_age="3h"
    )

    @loop.model(
        on=departures,
        at="left",
        features=["distance", sky, ll.category("carrier"), delays],
        label=ll.label(departures, pl.col("late") > 15, matures="2d", absent="negative"),
        fallback=0,
    )
    def late(train, params): ...

    assert (late.given, late.categories) == (("distance", "carrier"), ("carrier",))
    assert set(late.feature_names) == {"distance", "carrier", *sky.features, *delays.features}
    assert late.feature_names[:2] == late.given
    assert (late.where[0], late.fallback, late.label.absent) == (__file__, 0, "negative")
    assert weather.spec.key_columns == ("origin", "hour")
    assert (weather.known, weather.spec.personal, departures.every) == ("assumed", ("pilot",), "10m")
    assert departures.spec.tombstone == "gone"
    assert (list(loop.sources), list(loop.models), loop.operations) == (["weather", "departures"], ["late"], {})


def test_every_aggregate_is_written_as_it_is_named():
    written = {name: getattr(ll, name)("x", over="1d") for name in ("count", "sum", "mean", "std", "min", "max")}
    assert {name: windowed.op for name, windowed in written.items()} == {name: name for name in written}
    assert {windowed.over for windowed in written.values()} == {("1d",)}
