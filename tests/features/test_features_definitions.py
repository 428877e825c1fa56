import msgspec
import pytest

from loopline.errors import InvalidInput
from loopline.features.definitions import (
    Aggregate,
    LatestView,
    View,
    WindowView,
    check_views,
    feature_names,
    payload_columns,
    reach,
    views_digest,
)
from loopline.values import canonical_json, duration

DELAYS = WindowView(
    "arrivals", "carrier", {"mean_3h": Aggregate("mean", "delay", "3h"), "n_7d": Aggregate("count", "delay", "7d")}
)
SKY = LatestView("weather", "origin", {"visib": "visib", "wind": "wind_speed"}, max_age="3h")


def test_views_go_to_json_and_back():
    views = [DELAYS, SKY, LatestView("weather", "origin", {"visib": "visib"})]
    assert msgspec.json.decode(canonical_json(views), type=list[View]) == views


def test_a_view_says_what_it_needs():
    assert feature_names(DELAYS) == ["mean_3h", "n_7d"]
    assert payload_columns(DELAYS) == ["delay"]
    assert payload_columns(SKY) == ["visib", "wind_speed"]
    assert reach(DELAYS) == duration("7d")
    assert reach(SKY) == duration("3h")
    assert reach(LatestView("weather", "origin", {"visib": "visib"})) is None


def test_the_digest_is_of_the_definition():
    same = msgspec.json.decode(canonical_json(DELAYS), type=View)
    assert views_digest([DELAYS, SKY]) == views_digest([same, SKY])
    assert views_digest([DELAYS, SKY]) != views_digest([SKY, DELAYS])
    assert views_digest([SKY]) != views_digest([msgspec.structs.replace(SKY, max_age="4h")])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Aggregate("median", "delay", "3h"), "features.unknown_op"),
        (lambda: Aggregate("mean", "delay", "0h"), "features.empty_window"),
        (lambda: Aggregate("mean", "delay", "soon"), "duration.unreadable"),
        (lambda: WindowView("t", "by", {}), "features.unnamed"),
        (lambda: LatestView("t", "by", {"": "x"}), "features.unnamed"),
        (lambda: LatestView("t", "by", {"x": "x"}, max_age="0s"), "features.empty_window"),
        (lambda: check_views([SKY, DELAYS, SKY]), "features.name_taken"),
    ],
)
def test_mistakes_are_refused(make, code):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.code == code


def test_mistakes_in_json_are_refused():
    raw = canonical_json(DELAYS).replace(b'"mean"', b'"median"')
    with pytest.raises((InvalidInput, msgspec.ValidationError)):
        msgspec.json.decode(raw, type=View)


def test_features_stand_in_the_order_of_their_names_however_they_were_written() -> None:
    ways = [{"b": "y", "a": "x"}, {"a": "x", "b": "y"}]
    first, second = (LatestView(table="t", by="k", features=way) for way in ways)
    assert feature_names(first) == feature_names(second) == ["a", "b"]
    assert views_digest([first]) == views_digest([second])
    read = msgspec.json.decode(canonical_json(first), type=View)
    assert feature_names(read) == feature_names(first)
