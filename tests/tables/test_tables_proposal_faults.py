"""What is planted in columns is found, and what is usual is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import loopline as ll
from loopline.tables.checks import check
from loopline.tables.proposal.columns import read_columns
from loopline.tables.proposal.extract import extracting
from loopline.tables.proposal.faults import sentinels
from loopline.tables.proposal.personal import luhn, mask, suspect
from loopline.tables.proposal.schema import function_code, propose, source_code
from loopline.tables.source import SourceSpec
from loopline.values import Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(3)
N = 400
START = datetime(2025, 3, 1, tzinfo=UTC)


def honest() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "order_id": [f"o{i:04}" for i in range(N)],
            "ordered_at": [START + timedelta(hours=3 * i) for i in range(N)],
            "price": RNG.lognormal(3, 0.5, N).round(2),
            "quantity": RNG.integers(1, 6, N),
            "shop": RNG.choice(["books", "shoes", "toys"], N),
            "minus": RNG.normal(size=N).round(3),
        }
    )


@pytest.fixture
def proposed(tmp_path):
    def of(frame: pl.DataFrame, name: str = "orders.csv"):
        path = tmp_path / name
        frame.write_csv(path) if name.endswith("csv") else frame.write_parquet(path)
        with extracting(str(path)) as extract:
            columns = read_columns(extract, NOW)
            proposal, findings = propose(extract, columns)
            code = f"{source_code(proposal, columns)}\n{function_code(proposal, extract, columns)}"
        return proposal, {(one.code, one.column) for one in [*columns.findings, *findings]}, code, columns

    return of


def test_honest_rows_are_not_complained_of(proposed):
    proposal, findings, _, _ = proposed(honest())
    assert findings <= {("id-like", "order_id")}
    assert (proposal.key, proposal.event, proposal.personal) == (("order_id",), "ordered_at", ())


PLANTED = {
    "constant": (pl.lit("x").alias("c"), ("constant", "c")),
    "near-constant": (pl.when(pl.int_range(pl.len()) == 3).then(1).otherwise(0).alias("c"), ("near-constant", "c")),
    "sentinel": (pl.when(pl.int_range(pl.len()) % 50 == 0).then(-999).otherwise(pl.col("price")).alias("c"), ("sentinel", "c")),
    "outliers": (pl.when(pl.int_range(pl.len()) == 7).then(9e6).otherwise(pl.col("price")).alias("c"), ("outliers", "c")),
    "future": ((pl.col("ordered_at") + pl.duration(days=800)).alias("c"), ("future", "c")),
    "epoch": (pl.when(pl.int_range(pl.len()) < 9).then(datetime(1970, 1, 1, tzinfo=UTC)).otherwise("ordered_at").alias("c"), ("sentinel", "c")),
    "same": (pl.col("price").alias("c"), ("same-column", "c")),
    "case": (pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("Köln")).otherwise(pl.lit("köln")).alias("c"), ("case-duplicates", "c")),
    "email": (pl.format("u{}@example.org", pl.int_range(pl.len())).alias("c"), ("personal", "c")),
    "by name": (pl.col("shop").alias("first_name"), ("personal", "first_name")),
    "id": (pl.int_range(pl.len()).alias("c"), ("id-like", "c")),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(proposed, name):
    expression, expected = PLANTED[name]
    findings = proposed(honest().with_columns(expression), "orders.parquet")[1]
    assert expected in findings


def test_duplicates_and_gaps(proposed):
    frame = honest()
    findings = proposed(pl.concat([frame, frame.head(5)]))[1]
    assert {("duplicate-rows", None), ("no-key", None)} <= findings
    gap = frame.with_columns(ordered_at=pl.when(pl.int_range(pl.len()) > 200).then(pl.col("ordered_at") + pl.duration(days=40)).otherwise("ordered_at"))  # fmt: skip
    assert ("gap", "ordered_at") in proposed(gap)[1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4, -999], [-999]),
        ([1, 2, 3, 4, 9999, 9999], [9999]),
        ([0, 1, 2, 3, -1, -1, -1], [-1]),
        ([-2, -1, 0, 1, -1, -1], []),
        ([90, 95, 99, 99, 99, 100], []),
        ([980, 990, 999, 1000, 1010], []),
        ([-999, -1005, -990, -980], []),
        ([1.0, 2.0, float("nan"), 3.0], []),
        ([], []),
    ],
)
def test_stand_ins_lie_apart(values, expected):
    assert sentinels(pl.Series(values)) == expected


PERSONAL = {
    "email": ["a@b.de", "x.y+z@mail.example.com"],
    "phone": ["+49 221 123456", "(212) 555-0199", "030/1234567"],
    "IP address": ["192.168.0.1", "2001:db8::1"],
    "card": ["4111 1111 1111 1111", "5500005555555559"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "official number": ["123-45-6789", "987-65-4321"],
}


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_values_are_suspected_by_what_they_look_like(kind):
    found = suspect("x", pl.Series(PERSONAL[kind]))
    assert found is not None
    assert (found.kind, found.by, found.share) == (kind, "values", 1.0)


@pytest.mark.parametrize(
    "name", ["CustomerID", "user_id", "E-Mail", "dob", "last name", "Surname", "zipcode_address", "ip"]
)
def test_personal_columns_are_suspected_by_name(name):
    assert suspect(name, pl.Series([], dtype=pl.String)) is not None


@pytest.mark.parametrize(
    "name", ["order_id", "product_name", "shop", "description", "shipping", "tip", "cartel", "platform"]
)
def test_other_names_are_not(name):
    assert suspect(name, pl.Series([], dtype=pl.String)) is None


def test_other_values_are_not():
    for values in (
        ["2024-01-02", "2024-02-03"],
        ["1.5", "2.5"],
        ["12345678", "23456789"],
        ["1234567890123", "1234567890124"],
        ["v1.2.3.4", "10.1"],
    ):
        assert suspect("x", pl.Series(values)) is None, values


def test_luhn_against_its_definition():
    def by_hand(digits: str) -> bool:
        doubled = [int(d) if i % 2 == 0 else sum(map(int, str(2 * int(d)))) for i, d in enumerate(digits[::-1])]
        return sum(doubled) % 10 == 0

    numbers = [str(n) for n in RNG.integers(10**12, 10**16, 300)]
    assert [luhn(n) for n in numbers] == [by_hand(n) for n in numbers]
    assert 10 < sum(map(luhn, numbers)) < 60


def test_masks_hide_whose_it_is(proposed):
    assert mask("anna@example.org") == "a***@e***"
    frame = honest().with_columns(
        email=pl.format("person{}@example.org", pl.int_range(pl.len()) % 7), user_id=pl.int_range(pl.len()) + 880000
    )
    frame = frame.with_columns(
        phone=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("555123")).otherwise(pl.lit("+49 221 5551"))
    )
    proposal, findings, code, columns = proposed(frame)
    assert {("mixed-types", "phone"), ("personal", "phone"), ("personal", "email"), ("personal", "user_id")} <= findings
    assert (proposal.personal, proposal.subject) == (("email", "user_id", "phone"), "user_id")
    shown = repr([columns.facts["email"], columns.facts["user_id"], columns.facts["phone"], columns.findings, code])
    assert "person1" not in shown
    assert "880000" not in shown
    assert "5551" not in shown


def test_the_proposed_source_takes_every_row(proposed):
    frame = honest().rename({"price": "Price (EUR)"}).with_columns(flag=pl.when(pl.col("quantity") > 2).then(pl.lit("yes")).otherwise(pl.lit("no")))  # fmt: skip
    for name in ("orders.csv", "orders.parquet"):
        _, _, code, _ = proposed(frame, name)
        loop = ll.Loop("shop")
        names = {"ll": ll, "pl": pl, "loop": loop}
        exec(code, names)
        source = loop.sources["orders"]
        window = Window(START - timedelta(days=1), START + timedelta(days=99))
        rows = source.function(window)
        checked = check(rows.select(*source.spec.columns), source.spec, window)
        assert (checked.good.height, checked.bad.height) == (N, 0)
        assert rows.schema == dict(source.spec.columns)
        assert isinstance(source.spec, SourceSpec)


def test_without_key_and_time_the_code_says_what_is_made_up(proposed):
    frame = pl.DataFrame({"a": [1, 1, 2] * 20, "b": ["x", "y", "y"] * 20})
    _, findings, code, _ = proposed(frame)
    assert {("no-key", None), ("no-time", None)} <= findings
    assert code.count("# decide:") >= 4
    loop = ll.Loop("shop")
    exec(code, {"ll": ll, "pl": pl, "loop": loop})
    rows = loop.sources["orders"].function(Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)))
    assert rows.height == 60
    assert rows["row"].n_unique() == 60
