"""What is odd is refused, imputed or flagged, against a loop over cells; what the model used is what is answered and logged."""

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput, Unavailable
from loopline.models.contract_terms import ContractTerms, contract
from loopline.models.signature import Field, Signature
from loopline.scoring.contract import Contract
from loopline.scoring.engine import Engine
from loopline.scoring.treatment import refuses

SIGNATURE = Signature(
    fields=(
        Field(name="distance", kind="number", given=True, minimum=10.0, maximum=5000.0, typical=800.0),
        Field(name="carrier", kind="category", given=True, categories=("UA", "AA"), typical="AA"),
        Field(name="dewpoint", kind="number", given=True, minimum=-30.0, maximum=30.0, nulls=True, typical=4.0),
        Field(name="delay", kind="number", given=False, minimum=-60.0, maximum=600.0, nulls=True, typical=3.0),
        Field(name="old", kind="number", given=True, minimum=0.0, maximum=1.0),
    )
)
CODES = {"UA": 0.0, "AA": 1.0}
POLICIES = st.sampled_from(["refuse", "impute", "flag"])
VIOLATIONS = ("unseen_category", "out_of_range", "null_unseen", "feature_missing", "feature_stale")
ROWS = st.fixed_dictionaries(
    {
        "distance": st.sampled_from([None, math.nan, 9.0, 100.0]),
        "carrier": st.sampled_from(["UA", "ZZ", None]),
        "dewpoint": st.sampled_from([None, -31.0, 0.0]),
        "delay": st.sampled_from([None, 601.0, 0.0]),
        "old": st.sampled_from([None, 2.0, 0.5]),
    }
)


@dataclass
class Given:
    rows: list
    refuses: bool = True
    gaps: dict = field(default_factory=dict)

    def cell(self, index, name):
        return self.rows[index][name]


def missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def violation(one, row, gap):
    value = row[one.name]
    if gap is not None:
        return gap
    if missing(value):
        return None if one.nulls else "null_unseen" if one.given else "feature_missing"
    if one.kind == "category":
        return None if value in one.categories else "unseen_category"
    return None if one.minimum <= value <= one.maximum else "out_of_range"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(ROWS, st.sampled_from([None, "feature_missing", "feature_stale"])), min_size=1, max_size=4),
    st.fixed_dictionaries(dict.fromkeys(VIOLATIONS, POLICIES)),
    st.dictionaries(
        st.sampled_from(["distance", "carrier", "delay"]), st.fixed_dictionaries({"out_of_range": POLICIES})
    ),
    st.booleans(),
)
def test_each_cell_is_treated_as_its_policy_says(given_rows, general, own, waits):
    rows = [{**row, "delay": None} if gap else row for row, gap in given_rows]
    gaps = {"delay": {place: gap for place, (_, gap) in enumerate(given_rows) if gap}}
    terms = contract(**general, fields=own)
    refused, codes, used = None, [], []
    for place, row in enumerate(rows):
        told, values = [], []
        for one in SIGNATURE.fields:
            found = violation(one, row, gaps.get(one.name, {}).get(place))
            value = row[one.name]
            if found:
                policy = own.get(one.name, {}).get(found, general[found])
                refused = refused or (found if policy == "refuse" and waits else None)
                told.append(f"{found}:{one.name}")
                if policy == "impute" and one.typical is not None:
                    told.append(f"imputed:{one.name}")
                    value = one.typical
            values.append(None if missing(value) else value)
        codes.append(tuple(told))
        used.append(values)
    found = Contract(SIGNATURE, key="id", at="at", terms=terms)
    columns = {name: [row[name] for row in rows] for name in SIGNATURE.names}
    matrix = found.encode(columns, len(rows))
    asked = Given(rows, waits, gaps)
    if refused:
        with pytest.raises((InvalidInput, Unavailable)) as caught:
            found.treat(matrix, asked)
        assert caught.value.code == f"scoring.{refused}"
        assert refuses(caught.value)
        return
    treated = found.treat(matrix, asked)
    assert (treated.codes or [()] * len(rows)) == codes
    cells, texts = found.used(columns, found.cells(columns, len(rows)), treated.imputed)
    held = {
        name: [None if missing(value) else value for value in own]
        for name, own in zip(found.numbers, cells.T.tolist(), strict=True)
    }
    held |= dict(zip(found.categories, texts, strict=True))
    assert [list(row) for row in zip(*(held[name] for name in SIGNATURE.names), strict=True)] == used
    expected = [[CODES.get(value, math.nan) if isinstance(value, str) else value for value in row] for row in used]
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=np.float32))


IMPUTING = ContractTerms(unseen_category="impute", out_of_range="impute", null_unseen="impute")


def typical(signature):
    values = {"distance": 700.0, "carrier": "DL", "dewpoint": 1.0, "delay_3h": 2.0}
    fields = [msgspec.structs.replace(one, typical=values[one.name]) for one in signature.fields]
    return Signature(fields=tuple(fields))


def test_what_is_imputed_is_scored_answered_and_logged(deployment, scorer, signature, rows, clock):
    served = msgspec.structs.replace(deployment, contract=IMPUTING)
    model = scorer(typical(signature))
    engine = Engine("flights", served, model, clock=clock, instance="s:1")
    frame = rows.with_columns(delay_3h=pl.lit(1.0))
    found = engine.predict_frame(frame, scored_at=clock.now())
    assert found["feature_distance"].to_list() == [100.0, 700.0, 250.5, 700.0, 700.0, 4999.9]
    assert found["feature_carrier"].to_list() == ["UA", "DL", "DL", "AA", "DL", "UA"]
    assert found["degraded"].to_list()[4] == [
        "out_of_range:distance",
        "imputed:distance",
        "null_unseen:carrier",
        "imputed:carrier",
    ]
    codes = {"UA": 0.0, "AA": 1.0, "DL": 2.0}
    sums = [
        distance + codes[carrier] + (dew or 0.0) + 1.0
        for distance, carrier, dew in found.select(
            "feature_distance", "feature_carrier", "feature_dewpoint"
        ).iter_rows()
    ]
    assert found["score"].to_list() == pytest.approx([1 / (1 + math.exp(-1e-3 * total)) for total in sums], abs=1e-6)


def test_nobody_is_refused_in_a_frame(deployment, scorer, rows, clock):
    served = msgspec.structs.replace(deployment, contract=ContractTerms(unseen_category="refuse"))
    engine = Engine("flights", served, scorer(), clock=clock, instance="s:1")
    assert "unseen_category:carrier" in engine.predict_frame(rows, scored_at=clock.now())["degraded"].to_list()[2]


def test_who_asks_is_refused_whichever_rung_would_answer(deployment, scorer, rows, clock):
    served = msgspec.structs.replace(deployment, contract=ContractTerms(unseen_category="refuse"))
    champion = scorer()
    engine = Engine("flights", served, champion, scorer(), clock=clock, instance="s:1")
    sent = [{**row, "departs": row["departs"].isoformat()} for row in rows.drop("delay_3h").to_dicts()]
    for fails in (False, True):
        champion.fails = fails
        with pytest.raises(InvalidInput) as caught:
            engine.predict(sent, principal=None)
        assert (caught.value.code, caught.value.context) == (
            "scoring.unseen_category",
            {"row": 2, "column": "carrier"},
        )
        assert len(engine.predict(sent[:2], principal=None)) == 2
