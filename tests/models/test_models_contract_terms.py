import pytest

from loopline.errors import InvalidInput
from loopline.models.contract_terms import ContractTerms, FieldTerms, contract, read_contract
from loopline.models.ladder_terms import ladder


def test_a_field_has_its_own_policy_where_it_says_so():
    terms = contract(
        unseen_category="refuse", null_unseen="impute", fields={"carrier": {"unseen_category": "flag"}, "x": {}}
    )
    assert terms.policy("unseen_category", "carrier") == "flag"
    assert terms.policy("unseen_category", "x") == "refuse"
    assert terms.policy("null_unseen", "carrier") == "impute"
    assert terms.policy("out_of_range", "anything") == "flag"


def test_terms_on_a_command_line_are_those_of_a_file():
    said = "unseen_category=refuse, out_of_range=impute,carrier.unseen_category=flag,a.b.feature_stale=refuse"
    assert read_contract(said) == ContractTerms(
        unseen_category="refuse",
        out_of_range="impute",
        fields={"carrier": FieldTerms(unseen_category="flag"), "a.b": FieldTerms(feature_stale="refuse")},
    )
    assert read_contract("") == ContractTerms()


@pytest.mark.parametrize(
    "text", ["unseen_category", "unseen_category=drop", "unseen=refuse", "x.unseen=refuse", "=flag"]
)
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        read_contract(text)
    assert caught.value.code == "contract.terms"


def test_a_field_with_an_unknown_violation_is_refused():
    with pytest.raises(InvalidInput):
        contract(fields={"x": {"unsen_category": "flag"}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ["rule", "previous"]},
        {"steps": ["constant", "rule"]},
        {"steps": ["previous", "previous"]},
        {"steps": ["champion"]},
        {"features": 0.9, "model": 0.5},
        {"features": 0.0},
        {"model": 1.5},
        {"on_log_failure": "ignore"},
    ],
)
def test_a_ladder_that_cannot_be_climbed_down_is_refused(wrong):
    with pytest.raises(InvalidInput) as caught:
        ladder(**wrong)
    assert caught.value.code == "ladder.terms"


@pytest.mark.parametrize(
    "steps", [[], ["previous"], ["rule"], ["constant"], ["previous", "constant"], ["rule", "constant"]]
)
def test_other_ladders_are_taken(steps):
    assert ladder(steps).steps == tuple(steps)
