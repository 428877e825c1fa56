"""A source to paste: key, times, columns, expectations; what a person must decide stands in comments where it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

import polars as pl

from loopline.tables.proposal.columns import Columns
from loopline.tables.proposal.extract import Extract
from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.keys import KeyCandidate, Times, key_candidates, known_name, times_of
from loopline.tables.proposal.order import stand_in_order
from loopline.tables.proposal.reading import CODES, literal
from loopline.tables.proposal.rules import Rule, rules_for

_BAD = ' ,;{}()\n\r\t="'
_SYSTEM = {"_key", "_event_time", "_known_at", "_tombstone"}
_PERSON = "id of a person"

MADE_UP = "happened_at"
"""The column of times that is made up where a file has none."""

SPREAD_DAYS = 60
_TO_DECIDE = {"no-zone", "ambiguous-dates", "mixed-types", "sentinel", "null-words", "thousands"}
_CONFIRMED, _MOST_CONFIRMED = 3, 50_000_000


@dataclass(frozen=True)
class Proposal:
    """`named` gives the columns of the file the names that a table can have, of those that are kept. `key` is empty, and `event` and
    `known` None, where nothing in the file can be it. `ordered_by` is the label where rows without times stand in its order.
    """

    name: str
    named: dict[str, str]
    key: tuple[str, ...]
    keys: list[KeyCandidate]
    times: Times
    event: str | None
    known: str | None
    rules: list[Rule]
    personal: tuple[str, ...]
    subject: str | None
    ordered_by: str | None = None


def propose(extract: Extract, columns: Columns, *, label: str | None = None) -> tuple[Proposal, list[Finding]]:
    """A schema for the rows, and what is missing for one. `label` is not part of a key."""
    kept = [name for name in columns.frame.columns if name not in extract.nested]
    named = dict(zip(kept, clean_names(kept), strict=True))
    facts = {name: columns.facts[name] for name in kept}
    times = times_of(columns.frame, facts)
    moments = [name for name, fact in facts.items() if fact.kind in {"time", "date"}]
    keys = key_candidates(columns.frame, facts, moments, [label] if label else [])
    if extract.is_sample:
        keys = _confirmed(keys, extract, columns)
    sure = [one for one in keys if not one.duplicates]
    key = sure[0].columns if sure else ()
    event = times.event[0] if times.event else None
    known = next((name for name in times.known if known_name(name)), event)
    personal = tuple(name for name, fact in facts.items() if fact.personal)
    subject = next((name for name in personal if (found := facts[name].personal) and found.kind == _PERSON), None)
    rules = rules_for(columns.frame.select(kept), facts, named, {*key, *([event] if event else []), *([known] if known else [])})  # fmt: skip
    if extract.is_sample:
        rules = _kept_by_all(rules, extract, columns, named)
    name = _source_name(extract.files)
    ordered_by = label if not event and label in kept and stand_in_order(columns.frame[label]) else None
    made = Proposal(name, named, key, keys, times, event, known, rules, personal, subject, ordered_by)
    return made, list(_findings(extract, made))


def _confirmed(keys: list[KeyCandidate], extract: Extract, columns: Columns) -> list[KeyCandidate]:
    """The likeliest keys of a sample, with their duplicates counted over all rows."""
    chosen = [one for one in keys if not one.duplicates][:_CONFIRMED]
    if not chosen or extract.rows > _MOST_CONFIRMED:
        return keys
    told = [pl.struct(columns.readings[name].expression() for name in one.columns).hash().n_unique().alias(str(place)) for place, one in enumerate(chosen)]  # fmt: skip
    counts = extract.lazy.select(told).collect(engine="streaming").row(0)
    found = [KeyCandidate(one.columns, extract.rows - count) for one, count in zip(chosen, counts, strict=True)]
    return sorted(found, key=lambda one: one.duplicates > 0)


def _kept_by_all(rules: list[Rule], extract: Extract, columns: Columns, named: dict[str, str]) -> list[Rule]:
    """The rules of a sample that all rows keep."""
    if not rules:
        return []
    read = extract.lazy.select(columns.readings[one].expression().alias(name) for one, name in named.items())
    broken = read.select((~rule.expression).any().alias(str(place)) for place, rule in enumerate(rules))
    found = broken.collect(engine="streaming").row(0)
    return [rule for rule, breaks in zip(rules, found, strict=True) if not breaks]


def _findings(extract: Extract, made: Proposal) -> Iterator[Finding]:
    if not extract.rows:
        return
    if not made.key:
        almost = next(iter(made.keys), None)
        message = "no column, and no pair of columns, names each row once."
        if almost:
            message += f" {' and '.join(almost.columns)} almost does: {almost.duplicates:,} rows have one that was there before."
        yield Finding(level="warning", code="no-key", message=message, rows=almost.duplicates if almost else None, remedy="A key lets corrections replace rows. Without one, the row's place in the file is taken.")  # fmt: skip
    if not made.event:
        yield Finding(level="warning", code="no-time", message="no column says when a row happened.", remedy="A loop needs it: without times nothing can be replayed honestly.")  # fmt: skip


def clean_names(names: Sequence[str]) -> list[str]:
    """Names that a table can have, in order, no two alike."""
    made: list[str] = []
    for place, name in enumerate(names, 1):
        base = "".join("_" if letter in _BAD else letter for letter in name.strip())
        base = base.strip("_") if base in _SYSTEM else base
        base = base or f"column_{place}"
        given, number = base, 2
        while given in made:
            given, number = f"{base}_{number}", number + 1
        made.append(given)
    return made


def source_code(
    made: Proposal,
    columns: Columns,
    *,
    only: Sequence[str] | None = None,
    times: tuple[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
) -> str:
    """The `@loop.source(...)` of the proposal; `only` keeps some columns (the file's names), `extra` names more of them with
    their dtypes; `times` are the columns of the event and of when it became known, where they are not those of the file.
    """
    kept = [one for one in (only if only is not None else made.named) if one in made.named]
    key = [made.named[one] for one in made.key] or ["row"]
    event, known = times or (_named_or(made, made.event), _named_or(made, made.known))
    lines = ["@loop.source("]
    lines += _comment(made)
    lines += [f"    key={literal(key[0] if len(key) == 1 else tuple(key))},", f"    event_time={literal(event)},"]
    lines += [f"    known_at={literal(known)},", '    known="assumed",  # "measured" where the column tells when a row really became known']  # fmt: skip
    lines += ["    columns={"]
    lines += [f"        {literal(one)}: {dtype}," for one, dtype in _dtypes(made, columns, kept, extra or {}).items()]
    lines += ["    },"]
    names = {made.named[one] for one in kept}
    rules = [rule for rule in made.rules if any(rule.name.startswith(f"{one}_is_") for one in names)]
    if rules:
        lines += ["    expect={", *(f"        {literal(rule.name)}: {rule.code}," for rule in rules), "    },"]
    personal = [made.named[one] for one in made.personal if one in kept]
    if personal:
        lines += [f"    personal={literal(personal)},  # decide: suspected, not known"]
    if made.subject in kept and made.subject:
        lines += [f"    subject={literal(made.named[made.subject])},  # decide: whose row it is"]
    lines += [")"]
    return "\n".join(lines)


def _comment(made: Proposal) -> list[str]:
    lines = []
    if not made.key:
        lines.append("    # decide: nothing in the file names each row once; its place in the file does here")
    elif len(made.keys) > 1:
        others = [", ".join(made.named[one] for one in other.columns) for other in made.keys[1:4] if not other.duplicates]  # fmt: skip
        lines += [f"    # key: no two rows have the same; so it is with {' / '.join(others)}"] if others else []
    if not made.event:
        lines.append("    # decide: the file has no time; happened_at is made up")
    elif len(made.times.event) > 1:
        lines.append(f"    # decide: times are {', '.join(made.named[one] for one in made.times.event)}")
    return lines


def _named_or(made: Proposal, column: str | None) -> str:
    return made.named[column] if column else MADE_UP


def _dtypes(made: Proposal, columns: Columns, kept: Sequence[str], extra: Mapping[str, str]) -> dict[str, str]:
    found = {made.named[one]: CODES["time"] if one in {made.event, made.known} else CODES[columns.readings[one].kind] for one in kept}  # fmt: skip
    found |= {} if made.key else {"row": CODES["text"]}
    found |= {} if made.event or extra else {MADE_UP: CODES["time"]}
    return found | dict(extra)


def reading_code(
    made: Proposal, extract: Extract, columns: Columns, *, places: Sequence[str] | None = None
) -> list[str]:
    """The lines that read the files into `rows`, with the proposed types and names; `places` are the paths to write."""
    lines = [f"    rows = {_opening(extract, places)}"]
    selected = [
        line for one in made.named for line in (*_undecided(columns, one), f"        {_read(made, columns, one)},")
    ]
    if not made.key:
        lines.append('    rows = rows.with_row_index("row")  # decide: a key that says which row is meant')
        selected.append('        pl.format("r{}", "row").alias("row"),')
    lines += ["    rows = rows.select(", *selected, "    )"]
    if not made.event:
        seconds = max(1, SPREAD_DAYS * 86_400 // max(extract.rows, 1))
        lines += [
            *_order(made),
            f'    start, apart = pl.datetime(2024, 1, 1, time_zone="UTC"), pl.duration(seconds=pl.int_range(pl.len()) * {seconds})',
            f"    rows = rows.with_columns({MADE_UP}=start + apart)",
        ]
    return lines


def _order(made: Proposal) -> list[str]:
    if made.ordered_by is None:
        return [f"    # decide: the file has no time; its rows are spread over {SPREAD_DAYS} days, in their order"]
    return [
        f"    # decide: the file has no time, and its rows stand in the order of {made.ordered_by!r}: a model would learn from one end",
        f"    # and be judged on the other. They are spread over {SPREAD_DAYS} days, in an order by chance",
        "    rows = rows.sample(fraction=1.0, shuffle=True, seed=1)",
    ]


def _undecided(columns: Columns, name: str) -> list[str]:
    """What was taken for granted of a column and could be otherwise, above the line that reads it."""
    told = [one.message for one in columns.findings if one.column == name and one.code in _TO_DECIDE]
    return [f"        # decide: {' '.join(message.split())}" for message in told]


def function_code(made: Proposal, extract: Extract, columns: Columns) -> str:
    """The function below the `@loop.source(...)`: what became known in the window."""
    known = made.named[made.known] if made.known else MADE_UP
    window = f'pl.col({literal(known)}).is_between(window.start, window.end, closed="right")'
    lines = [f"def {made.name}(window: ll.Window) -> pl.DataFrame:", *reading_code(made, extract, columns)]
    return "\n".join([*lines, f"    return rows.filter({window})"])


def _read(made: Proposal, columns: Columns, name: str) -> str:
    reading = columns.readings[name]
    code = reading.code()
    if name in {made.event, made.known} and reading.kind == "date":
        code += '.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")'
    return code if made.named[name] == name and len(reading.ways) == 1 else f"{code}.alias({literal(made.named[name])})"


def _opening(extract: Extract, places: Sequence[str] | None) -> str:
    paths = list(places or extract.files)
    options = _options(extract)
    reader = {"csv": "read_csv", "parquet": "read_parquet", "jsonl": "read_ndjson", "json": "read_json", "xlsx": "read_excel"}[extract.format]  # fmt: skip
    if len(paths) == 1:
        return f"pl.{reader}({literal(paths[0])}{options})"
    return f'pl.concat([pl.{reader}(path{options}) for path in {literal(paths)}], how="diagonal_relaxed")'


def _options(extract: Extract) -> str:
    if extract.format == "parquet":
        return ""
    if extract.format != "csv":
        return ", infer_schema_length=None"
    dialect = extract.dialect
    told = ", infer_schema=False"
    if dialect is None:
        return told
    if dialect.separator != ",":
        told += f", separator={literal(dialect.separator)}"
    if not dialect.encoding.startswith("utf-8"):
        told += f", encoding={literal(dialect.encoding)}"
    if not dialect.header:
        told += ", has_header=False"
    if any(finding.code == "ragged" for finding in extract.findings):
        told += ", truncate_ragged_lines=True"
    if any(finding.code == "quotes" for finding in extract.findings):
        told += ", truncate_ragged_lines=True, quote_char=None"
    if list(dialect.names) != extract.frame.columns:
        told += f", new_columns={literal(extract.frame.columns)}"
    return told


def _source_name(files: Sequence[str]) -> str:
    stem = Path(files[0]).name.partition(".")[0] if len(files) == 1 else Path(files[0]).parent.name
    made = "".join(letter.lower() if letter.isalnum() and letter.isascii() else "_" for letter in stem).strip("_")
    return made if made.isidentifier() and not iskeyword(made) else f"rows_{made}".rstrip("_")
