"""What is done about a value that is not like those of the training rows: refuse the request, put a usual value in its place, or score it and say so."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from loopline.errors import InvalidInput

Policy = Literal["refuse", "impute", "flag"]
Violation = Literal["unseen_category", "out_of_range", "null_unseen", "feature_missing", "feature_stale"]

_TOLD = ", ".join(Violation.__args__)  # type: ignore[attr-defined]


class FieldTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """The policies of one field; None: those of the endpoint."""

    unseen_category: Policy | None = None
    out_of_range: Policy | None = None
    null_unseen: Policy | None = None
    feature_missing: Policy | None = None
    feature_stale: Policy | None = None


class ContractTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """A policy for each violation, and exceptions by field.

    `refuse` answers nobody of the request; `impute` takes the field's usual value of the training rows, where its package knows one,
    and flags otherwise; `flag` scores the value as it is: for a stale feature, the last that was known. Whatever is done, the answer says so.
    """

    unseen_category: Policy = "flag"
    out_of_range: Policy = "flag"
    null_unseen: Policy = "flag"
    feature_missing: Policy = "flag"
    feature_stale: Policy = "flag"
    fields: dict[str, FieldTerms] = {}

    def policy(self, violation: str, field: str) -> Policy:
        """What is done about a violation in a field."""
        own: Policy | None = getattr(self.fields[field], violation) if field in self.fields else None
        if own is not None:
            return own
        general: Policy = getattr(self, violation)
        return general


FLAGGED = ContractTerms()
"""Nothing is refused that can be scored."""


def contract(
    *,
    unseen_category: Policy = "flag",
    out_of_range: Policy = "flag",
    null_unseen: Policy = "flag",
    feature_missing: Policy = "flag",
    feature_stale: Policy = "flag",
    fields: Mapping[str, Mapping[str, Policy]] | None = None,
) -> ContractTerms:
    """Declare what is done about a category the training rows did not have, a number outside of their range, a null where they had
    none, and a looked-up feature that has no value or only an old one: `"refuse"`, `"impute"` or `"flag"`.

    `fields` are exceptions, e.g. `{"carrier": {"unseen_category": "impute"}}`. Raises `InvalidInput` "contract.terms".
    """
    said = {
        "unseen_category": unseen_category,
        "out_of_range": out_of_range,
        "null_unseen": null_unseen,
        "feature_missing": feature_missing,
        "feature_stale": feature_stale,
        "fields": {name: dict(terms) for name, terms in (fields or {}).items()},
    }
    for name, terms in said["fields"].items():  # type: ignore[union-attr]
        _require_known(name, terms)
    try:
        return msgspec.convert(said, ContractTerms)
    except msgspec.ValidationError as error:
        raise _bad_terms(str(error)) from error


def read_contract(text: str) -> ContractTerms:
    """Terms as written on a command line: `"unseen_category=refuse,out_of_range=impute,carrier.unseen_category=flag"`.

    Raises `InvalidInput` "contract.terms".
    """
    general: dict[str, Any] = {}
    fields: dict[str, dict[str, Any]] = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        what, separator, policy = part.partition("=")
        field, _, violation = what.strip().rpartition(".")
        if not separator or violation not in Violation.__args__:  # type: ignore[attr-defined]
            raise _bad_terms(f"{part!r} is no policy")
        (fields.setdefault(field, {}) if field else general)[violation] = policy.strip()
    return contract(**general, fields=fields)


def _require_known(name: str, terms: Mapping[str, Any]) -> None:
    unknown = [violation for violation in terms if violation not in Violation.__args__]  # type: ignore[attr-defined]
    if unknown:
        raise _bad_terms(f"{name!r} has a policy for {unknown[0]!r}")


def _bad_terms(what: str) -> InvalidInput:
    return InvalidInput(
        "contract.terms",
        f"the contract's terms cannot be read: {what}",
        remedy=f'Say "refuse", "impute" or "flag" for {_TOLD}.',
    )
