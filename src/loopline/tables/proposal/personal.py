"""What may be about a person: suspected by what values look like and what columns are called. Masked wherever it is shown."""

import ipaddress
import re
from collections.abc import Callable

import msgspec
import polars as pl

_ENOUGH = 0.5
_SOME = 0.01
_LOOKED = 2_000
_IBAN_LENGTHS = (15, 34)
_CARD_LENGTHS = (13, 19)
_PHONE_DIGITS = (7, 15)

_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(\.[\w-]+)+")
_PHONE = re.compile(r"\(?\+?\(?\d[\d\s().\-/]{5,18}\d")
_SSN = re.compile(r"\d{3}-\d{2}-\d{4}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}).*")

_NAMES: dict[str, str] = {
    r"e_?mail": "email", r"phone|mobile|telephone|tel|fax|cell": "phone", r"(first|last|full|given|family|middle|maiden|sur|user|customer|client|patient|employee|contact|person|holder|sender|recipient)_?names?|surname|vorname|nachname|username": "name",
    r"street|address|addr|strasse": "address", r"ssn|social_security|passport|national_id|tax_id|nhs|nin": "official number",
    r"birth|dob|birthday|birthdate|geburtsdatum": "date of birth", r"ip|ip_?addr(ess)?|remote_addr": "IP address", r"iban|bank_account|account_number": "bank account",
    r"card_?(number|no|num)|credit_?card|pan": "card", r"lat|latitude|lon|lng|longitude|gps|geo": "place", r"(user|customer|client|patient|member|employee|person|subscriber|passenger|driver|student|guest|visitor|cookie|device|account|household)_?(id|key|no|number|uuid)|customerid|userid": "id of a person",
}  # fmt: skip
_BY_NAME = [(re.compile(rf"(^|_)({pattern})(_|$)"), kind) for pattern, kind in _NAMES.items()]

SENSITIVE = re.compile(
    r"(^|_)(sex|gender|age|age_?(group|band|range|bucket)|race|ethnic(ity)?|religion|nationality|country|citizenship|marital(_?status)?|disab(led|ility)|region|state|zip"
    r"|zip_?code|postcode|postal_?code|neighbou?rhood|language|pregnan(t|cy)|veteran|orientation|birth|dob|geschlecht|alter)(_|$)"
)
"""Names of columns whose groups a model must often not treat worse."""


class Personal(msgspec.Struct, frozen=True):
    """A suspicion: of what `kind`, in what `share` of the values (1 where the name alone says so), and `by` what."""

    kind: str
    share: float
    by: str


def suspect(name: str, values: pl.Series) -> Personal | None:
    """What the distinct `values` (text, or whole numbers) or the name say of persons, if anything."""
    texts = values.head(_LOOKED).cast(pl.String).to_list()
    for kind, test in _TESTS.items():
        share = sum(map(test, texts)) / len(texts) if texts else 0.0
        if share >= (_SOME if kind in {"email", "IBAN"} else _ENOUGH) and not (
            kind == "phone" and _is_number_like(name, texts)
        ):
            return Personal(kind, share, "values")
    if kind_ := _by_name(name):
        return Personal(kind_, 1.0, "name")
    return None


def words(name: str) -> str:
    """A name in lower case with its words joined by `_`: `CustomerID` is `customer_id`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def mask(text: str) -> str:
    """Enough of a value to see what it is, and not whose."""
    user, at, host = text.partition("@")
    if at and host:
        return f"{user[:1]}***@{host[:1]}***"
    return f"{text[:1]}***" if len(text) > 1 else "***"


def _by_name(name: str) -> str | None:
    called = words(name)
    return next((kind for pattern, kind in _BY_NAME if pattern.search(called)), None)


def _is_number_like(name: str, texts: list[str]) -> bool:
    """Plain digits are phone numbers only where the name says so."""
    return _by_name(name) != "phone" and all(text.lstrip("+").isdigit() and not text.startswith("+") for text in texts)


def _is_email(text: str) -> bool:
    return _EMAIL.search(text) is not None


def _is_phone(text: str) -> bool:
    digits = sum(letter.isdigit() for letter in text)
    return (
        _PHONE_DIGITS[0] <= digits <= _PHONE_DIGITS[1]
        and _PHONE.fullmatch(text.strip()) is not None
        and _DATE.fullmatch(text.strip()) is None
        and (text.startswith(("+", "(", "0")) or any(sign in text for sign in " -/()"))
        and text.count(".") != 1
    )


def _is_ip(text: str) -> bool:
    if text.count(".") != 3 and text.count(":") < 2:  # noqa: PLR2004 - four parts, or colons
        return False
    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return True


def _is_card(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and _CARD_LENGTHS[0] <= len(digits) <= _CARD_LENGTHS[1]):
        return False
    return digits[0] in "3456" and luhn(digits)


def luhn(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled  # noqa: PLR2004 - the sum of its digits
    return total % 10 == 0


def _is_iban(text: str) -> bool:
    bare = text.replace(" ", "").upper()
    if not (_IBAN_LENGTHS[0] <= len(bare) <= _IBAN_LENGTHS[1] and _IBAN.fullmatch(bare)):
        return False
    return int("".join(str(int(letter, 36)) for letter in bare[4:] + bare[:4])) % 97 == 1


def _is_ssn(text: str) -> bool:
    return _SSN.fullmatch(text.strip()) is not None


_TESTS: dict[str, Callable[[str], bool]] = {
    "email": _is_email,
    "IBAN": _is_iban,
    "card": _is_card,
    "IP address": _is_ip,
    "official number": _is_ssn,
    "phone": _is_phone,
}
