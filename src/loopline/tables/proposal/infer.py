"""What type a column of text really has: by its values, with what stands in the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.moments import moment_ways
from loopline.tables.proposal.reading import Kind, Reading, Step, cast

NULL_WORDS = (
    "n/a",
    "na",
    "null",
    "nan",
    "none",
    "nil",
    "-",
    "--",
    "?",
    "#n/a",
    "#na",
    "missing",
    "<na>",
    "(null)",
    "\\n",
)
_SURE_NULLS = {"n/a", "null", "nan", "#n/a", "#na", "<na>", "(null)", "\\n"}
_TRUE, _FALSE = ("true", "yes", "y", "t"), ("false", "no", "n", "f")
_MOSTLY, _SOME_NUMBERS = 0.95, 0.2
_VALUES = 20_000
_EXAMPLES = 3

_WHOLE = r"^[+-]?\d+$"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+|\d*)(,\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_EITHER = r"^[+-]?\d{1,3},\d{3}$"
_LEADING_ZERO = r"^0\d+$"
_SPECIAL = r"(?i)^[+-]?inf(inity)?$"
_UNITS = r"^([$€£¥]|USD|EUR|GBP)?\s*[+-]?(\d{1,3}([.,]\d{3})*|\d+)([.,]\d+)?\s*(%|[$€£¥]|USD|EUR|GBP)?$"
_UNIT_SIGNS = r"[$€£¥%]|USD|EUR|GBP"
_UNIT_PARTS = r"[$€£¥%\s]|USD|EUR|GBP"
_IN_64_BITS = 18


@dataclass(frozen=True)
class Inferred:
    """How a column of text is to be read, and what was found on the way."""

    reading: Reading
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class _Values:
    """The distinct values of a column without white space around them and words for null, with their rows."""

    name: str
    values: pl.Series
    rows: pl.Series
    first: tuple[Step, ...]

    @property
    def total(self) -> int:
        return int(self.rows.sum())

    def share(self, pattern: str) -> float:
        return float(self.rows.filter(self.values.str.contains(pattern)).sum()) / max(self.total, 1)

    def examples(self, pattern: str) -> str:
        return ", ".join(map(repr, self.values.filter(~self.values.str.contains(pattern)).head(_EXAMPLES).to_list()))


def infer(column: pl.Series, *, comma: bool = False) -> Inferred:
    """The reading of a column of text; `comma` says that the file is one of a country with decimal commas.

    Decided on its distinct values, at most 20,000 of them.
    """
    findings: list[Finding] = []
    counted = _counted(column)
    if counted.values.is_empty():
        return Inferred(Reading(column.name, "nothing"))
    stripped = _stripped(counted, findings)
    values, words = _without_null_words(stripped)
    for ways, kind in _candidates(values, findings, comma=comma):
        findings += _null_findings(column.name, words, typed=kind != "text")
        nulls = words if kind != "text" else {word: rows for word, rows in words.items() if word.lower() in _SURE_NULLS}
        return Inferred(_reading(values, ways, kind, list(nulls)), findings)
    raise AssertionError  # text takes everything


def _reading(values: _Values, ways: Sequence[tuple[Step, ...]], kind: Kind, nulls: list[str]) -> Reading:
    first = values.first
    if nulls:
        first = (*first, Step("replace", (nulls, None)))
    return Reading(values.name, kind, tuple((*first, *way) for way in ways))


def _counted(column: pl.Series) -> _Values:
    known = column.drop_nulls().alias("value")
    counted = known.value_counts(name="rows")
    if counted.height > _VALUES:
        counted = counted.top_k(_VALUES, by="rows")
    counted = counted.sort("rows", "value", descending=[True, False])
    return _Values(column.name, counted["value"].alias(column.name), counted["rows"], ())


def _stripped(counted: _Values, findings: list[Finding]) -> _Values:
    stripped = counted.values.str.strip_chars()
    padded = (stripped != counted.values) & (stripped != "")
    kept = stripped != ""
    blank = int(counted.rows.filter(~kept).sum())
    if padded.any():
        rows = int(counted.rows.filter(padded).sum())
        message = f"{rows:,} values have white space before or after them."
        findings.append(Finding(level="warning", code="white-space", column=counted.name, message=message, rows=rows, remedy="The proposed reading strips it."))  # fmt: skip
    if blank:
        findings.append(Finding(level="note", code="blank", column=counted.name, message=f"{blank:,} values are blank; they are read as null.", rows=blank))  # fmt: skip
    first: tuple[Step, ...] = (Step("str.strip_chars"),) if padded.any() or blank else ()
    first += (Step("replace", ([""], None)),) if blank else ()
    return _Values(counted.name, stripped.filter(kept), counted.rows.filter(kept), first)


def _without_null_words(counted: _Values) -> tuple[_Values, dict[str, int]]:
    is_word = counted.values.str.to_lowercase().is_in(list(NULL_WORDS))
    found = dict(zip(counted.values.filter(is_word).to_list(), counted.rows.filter(is_word).to_list(), strict=True))
    return _Values(counted.name, counted.values.filter(~is_word), counted.rows.filter(~is_word), counted.first), found


def _null_findings(name: str, words: dict[str, int], *, typed: bool) -> list[Finding]:
    if not words:
        return []
    told = ", ".join(f"{word!r} ({rows:,})" for word, rows in list(words.items())[:_EXAMPLES])
    sure = typed or all(word.lower() in _SURE_NULLS for word in words)
    remedy = "The proposed reading makes them null." if sure else "Decide which mean that there is no value."
    return [
        Finding(
            level="warning",
            code="null-words",
            column=name,
            message=f"words stand for missing values: {told}.",
            rows=sum(words.values()),
            remedy=remedy,
        )
    ]


def _candidates(
    values: _Values, findings: list[Finding], *, comma: bool
) -> Iterator[tuple[Sequence[tuple[Step, ...]], Kind]]:
    if values.values.is_empty():
        yield ((),), "text"
    lower = set(values.values.str.to_lowercase().unique().head(10).to_list())
    if lower and lower <= {*_TRUE, *_FALSE} and len(lower) == 2:  # noqa: PLR2004 - yes and no
        yield (_boolean(values),), "boolean"
    if values.share(_LEADING_ZERO) > 0 and values.share(_WHOLE) == 1:
        message = "numbers begin with zeros, such as codes do; they are kept as text."
        findings.append(Finding(level="note", code="leading-zeros", column=values.name, message=message))
        found = moment_ways(values.name, values.values, values.rows)
        if found:
            findings.clear()
            yield found.ways, found.kind
        yield ((),), "text"
    found = moment_ways(values.name, values.values, values.rows)
    if found:
        findings += found.findings
        yield found.ways, found.kind
    yield from _numbers(values, findings, comma=comma)
    findings += _mixed(values)
    yield ((),), "text"


def _boolean(values: _Values) -> tuple[Step, ...]:
    told = {value: value.lower() in _TRUE for value in sorted(values.values.to_list())}
    return (Step("replace_strict", (told,), (("default", None),)), cast("boolean"))


def _numbers(
    values: _Values, findings: list[Finding], *, comma: bool
) -> Iterator[tuple[Sequence[tuple[Step, ...]], Kind]]:
    if values.share(_WHOLE) == 1:
        if bool((values.values.str.strip_chars_start("+-0").str.len_chars() <= _IN_64_BITS).all()):
            yield ((cast("whole", strict=False),),), "whole"
        message = "whole numbers are too large for 64 bits; they are kept as text."
        findings.append(Finding(level="warning", code="huge-integers", column=values.name, message=message))
        yield ((),), "text"
    plain = values.share(_PLAIN) + values.share(_SPECIAL)
    if plain >= _MOSTLY:
        yield _numeric(values, findings, (), f"{_PLAIN}|{_SPECIAL}", strict=plain == 1)
    steps: tuple[Step, ...]
    either, thousands, decimal = values.share(_EITHER), values.share(_THOUSANDS), values.share(_COMMA)
    whole = values.share(_WHOLE)
    ambiguous = either > 0 and thousands + whole >= _MOSTLY and decimal >= _MOSTLY
    if decimal >= _MOSTLY and (not ambiguous or comma):
        findings.append(_styled(values, "decimal-comma", "numbers are text with decimal commas", ambiguous=ambiguous))
        steps = (Step("str.replace_all", (".", ""), (("literal", True),)), Step("str.replace", (",", "."), (("literal", True),)))  # fmt: skip
        yield _numeric(values, findings, steps, _COMMA, strict=decimal == 1)
    if thousands + values.share(_PLAIN) >= _MOSTLY:
        findings.append(_styled(values, "thousands", "numbers are text with commas between thousands", ambiguous=ambiguous))  # fmt: skip
        steps = (Step("str.replace_all", (",", ""), (("literal", True),)),)
        yield _numeric(values, findings, steps, f"{_THOUSANDS}|{_PLAIN}", strict=thousands + values.share(_PLAIN) == 1)
    if values.share(_UNITS) >= _MOSTLY and values.share(_UNIT_SIGNS) > 0:
        findings.append(
            _styled(values, "units", "numbers are text with a sign of currency or percent", ambiguous=False)
        )
        steps = (Step("str.replace_all", (_UNIT_PARTS, "")),)
        bare = values.values.str.replace_all(_UNIT_PARTS, "")
        has_comma = bool(bare.str.contains(r",\d{1,2}$").any())
        swap = (Step("str.replace_all", (".", ""), (("literal", True),)), Step("str.replace", (",", "."), (("literal", True),)))  # fmt: skip
        steps += swap if has_comma else (Step("str.replace_all", (",", ""), (("literal", True),)),)
        yield _numeric(values, findings, steps, _UNITS, strict=False)


def _numeric(
    values: _Values, findings: list[Finding], steps: tuple[Step, ...], pattern: str, *, strict: bool
) -> tuple[Sequence[tuple[Step, ...]], Kind]:
    if not strict and values.share(pattern) < 1:
        rows = values.total - round(values.share(pattern) * values.total)
        message = f"{rows:,} values among the numbers are none, such as {values.examples(pattern)}."
        findings.append(Finding(level="warning", code="mixed-types", column=values.name, message=message, rows=rows, remedy="The proposed reading makes them null."))  # fmt: skip
    return ((*steps, cast("number", strict=False)),), "number"


def _styled(values: _Values, code: str, said: str, *, ambiguous: bool) -> Finding:
    message = f"{said}, such as {values.values[0]!r}."
    if ambiguous:
        message += " They could be read the other way too: decide."
    return Finding(level="warning", code=code, column=values.name, message=message, rows=values.total, remedy="The proposed reading makes them numbers.")  # fmt: skip


def _mixed(values: _Values) -> list[Finding]:
    share = values.share(_PLAIN)
    if not _SOME_NUMBERS <= share < 1:  # a few numbers among names are names
        return []
    rows = round((1 - share) * values.total)
    message = f"{share:.0%} of the values are numbers, the others not, such as {values.examples(_PLAIN)}."
    return [Finding(level="warning", code="mixed-types", column=values.name, message=message, rows=rows, remedy="Decide what it is; it is kept as text.")]  # fmt: skip
