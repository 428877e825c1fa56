"""What a person should know of code that becomes a pipeline: names that are not there, deeds, chance, time, paths, what stays together."""

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import PurePath

from loopline.app.adopting.calls import calls, dotted
from loopline.app.adopting.effects import Effect
from loopline.app.adopting.finding import Weight
from loopline.app.adopting.groups import Groups
from loopline.app.adopting.guess import crosses
from loopline.app.adopting.source import Source
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.steps import Steps
from loopline.app.adopting.study import KNOWN, Study

_DEEDS: dict[str, tuple[str, Weight, str, str]] = {
    "network": ("network.read", "note", "{told} asks the network", "Its step is not cached and tried three times. Keep what it got if results must be repeated."),
    "send": ("effect.send", "decide", "{told}: a change outside that is made again when the step is tried again", "Make it bear repeating (a key, a replace), or give its step no retries."),
    "shell": ("effect.shell", "decide", "{told} runs another program", "Use a shell step with declared files; see that the program is on every worker."),
    "remove": ("effect.remove", "decide", "{told} removes or moves files", "See that it bears repeating."),
    "clock": ("time.now", "decide", "{told} asks what time it is: each execution sees another", "Take a param, or the end of the window that the pipeline is run for."),
    "asks": ("effect.asks", "blocks", "{told} waits for a person", "Make it a param: assign a constant to a name."),
    "folder_change": ("effect.chdir", "decide", "{told} changes the working folder of the process", "Use paths that are params."),
    "database": ("database.read", "note", "{told} reads a database: what it reads is not in the key of a cache", "Its step is not cached."),
}  # fmt: skip


def look(source: Source, study: Study) -> None:
    """Note what is found before anything is grouped; what blocks among it."""
    _check_names(source, study)
    _check_hiding(source, study)
    for statement in study.statements:
        _check_deeds(source, statement)
        _check_wild(source, statement)
    _check_left_out(source, study)
    _check_absolute(source, study)


def _check_names(source: Source, study: Study) -> None:
    made: set[str] = {param.name for param in study.params} | KNOWN
    later = {name: one for one in reversed(study.statements) for name in one.binds}
    told: set[str] = set()
    for statement in study.statements:
        for name in statement.reads:
            if name in made or name in told or name in statement.sure or study.star is not None:
                continue
            told.add(name)
            line = _line_of(statement, name)
            if re.fullmatch(r"_+\d*|In|Out|_i+\d*", name):
                _missing(
                    source,
                    line,
                    f"`{name}` is the notebook's memory of earlier results",
                    "Give the result a name.",
                    "order.history",
                )
            elif name in later and later[name].number > statement.number:
                where = _where(source, later[name].node.lineno)
                _missing(
                    source, line, f"`{name}` is used here but made only later ({where}): from top to bottom this fails",
                    f"Move what makes `{name}` up.", "order.used_before_made",
                )  # fmt: skip
            elif name in statement.binds:
                continue
            else:
                _missing(
                    source,
                    line,
                    f"`{name}` is never made: a cell or an import is gone",
                    f"Write again what made `{name}`.",
                    "order.never_made",
                )
        made |= statement.binds
    if study.star is not None:
        source.find(
            1, "names.star", "note", f"`from {study.star} import *`: names that the code does not make are taken to come from it",
            "Import the names that are used.",
        )  # fmt: skip


def _missing(source: Source, line: int, what: str, do: str, kind: str) -> None:
    source.find(line, kind, "blocks", what, do)


def _where(source: Source, line: int) -> str:
    cell, there = source.place(line)
    return f"cell {cell}, line {there}" if source.notebook else f"line {there}"


def _line_of(statement: Statement, name: str) -> int:
    return next(
        (one.lineno for one in ast.walk(statement.node) if isinstance(one, ast.Name) and one.id == name),
        statement.node.lineno,
    )


def _check_hiding(source: Source, study: Study) -> None:
    """A name of an import or a builtin that becomes a variable: inside of a function it cannot be both."""
    for statement in study.statements:
        if statement.role != "work":
            continue
        for name in sorted(statement.binds):
            hidden = name in study.aliases or (
                hasattr(builtins, name)
                and any(name in one.reads for one in study.statements if one.number <= statement.number)
            )
            if hidden:
                source.find(
                    statement.node.lineno, "names.hidden", "blocks", f"`{name}` becomes a variable, but is also used as what it was before",
                    "Give the variable another name.",
                )  # fmt: skip


def _check_deeds(source: Source, statement: Statement) -> None:
    for effect in statement.effects:
        if effect.deed in _DEEDS:
            kind, weight, what, do = _DEEDS[effect.deed]
            source.find(effect.line, kind, weight, what.format(told=effect.told), do)


def _check_wild(source: Source, statement: Statement) -> None:
    for call in calls(statement.node):
        name = dotted(call.func)
        if name in {"exec", "globals", "locals"} or (
            name == "eval" and not isinstance(statement.node, ast.FunctionDef)
        ):
            source.find(
                call.lineno,
                "names.dynamic",
                "blocks",
                f"`{name}()` reaches names that cannot be followed",
                "Use the names themselves.",
            )
        elif name in {"sys.exit", "exit", "quit", "os._exit"}:
            source.find(
                call.lineno,
                "effect.exit",
                "decide",
                f"`{name}()` ends the process, and the step with it as failed",
                "Raise an error that says what is wrong.",
            )
        elif name.endswith("get_ipython"):
            source.find(
                call.lineno,
                "names.ipython",
                "blocks",
                "`get_ipython()` is only there in a notebook",
                "Write it in Python.",
            )
        elif name in {"pickle.load", "pickle.loads", "joblib.load", "torch.load", "pd.read_pickle"}:
            source.find(
                call.lineno,
                "effect.pickle",
                "decide",
                f"`{name}` runs whatever the file says",
                "Load only files that you made; prefer Parquet, ONNX, skops.",
            )
    if any(isinstance(one, ast.Await) for one in ast.walk(statement.node)) and not isinstance(
        statement.node, (ast.FunctionDef, ast.AsyncFunctionDef)
    ):
        source.find(
            statement.node.lineno,
            "names.await",
            "blocks",
            "`await` at the top level is only there in a notebook",
            "Use asyncio.run(...).",
        )


def _check_left_out(source: Source, study: Study) -> None:
    shown = [
        one
        for one in study.statements
        if one.role == "left_out" and isinstance(one.node, ast.Expr) and not _is_text(one.node)
    ]
    for one in shown:
        source.find(
            one.node.lineno, "display.left_out", "note", f"`{_short(one.node)}` only shows something and is left out", "Print it if it should be in a step's output."
        )  # fmt: skip


def _is_text(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Constant)


def _short(node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line


def _check_absolute(source: Source, study: Study) -> None:
    for node in ast.walk(study.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_absolute(node.value):
            source.find(
                node.lineno,
                "path.absolute",
                "decide",
                f"{node.value!r} is a path of one machine",
                "Give a path beside the pipeline, or a store that every worker reaches.",
            )


def _is_absolute(text: str) -> bool:
    if "\n" in text or " /" in text:
        return False
    posix = text.startswith(
        (
            "/home/",
            "/Users/",
            "/mnt/",
            "/data/",
            "/tmp/",  # noqa: S108 - what is looked for
            "/root/",
            "/var/",
            "/opt/",
            "/content/",
            "~/",
            "/srv/",
            "/media/",
        )
    )
    return posix or bool(re.match(r"^[A-Za-z]:[\\/]", text))


def look_at_steps(source: Source, groups: Groups, steps: Steps) -> None:
    """Note what the grouping shows: what was kept together and why, what is not returned, chance without a seed."""
    for statement, effect in _unseeded(groups):
        source.find(
            effect.line, "random.no_seed", "decide", f"{effect.told} draws without a seed: every execution differs",
            "Give it a seed (random_state=seed, np.random.default_rng(seed)).",
        )  # fmt: skip
        del statement
    told: set[str] = set()
    for maker, reader, name in groups.needs:
        kind = maker.kinds.get(name, "")
        joined = groups.at_first[maker.number] != groups.at_first[reader.number]
        if name in told or crosses(kind) or not joined:
            continue
        told.add(name)
        _tell_kept(source, maker, name, kind)
    for name, maker in steps.kept_back.items():
        if name not in told and (
            maker.kinds.get(name) == "estimator" or (not maker.kinds.get(name) and isinstance(maker.node, ast.Assign))
        ):
            source.find(
                maker.node.lineno, "result.not_returned", "note", f"`{name}` is not returned: {_why(maker.kinds.get(name, ''))}",
                "Write it to a file, or register a codec for its type and return it.",
            )  # fmt: skip
    _check_files(source, groups)


def _unseeded(groups: Groups) -> Iterator[tuple[Statement, Effect]]:
    seeded: set[str] = set()
    for statement in groups.work:
        seeded |= {effect.stream for effect in statement.effects if effect.deed == "seed"}
        yield from (
            (statement, effect) for effect in statement.effects if effect.deed == "draw" and effect.stream not in seeded
        )


def _why(kind: str) -> str:
    known = {
        "estimator": "a fitted estimator cannot go on without pickle",
        "figure": "a figure cannot go on",
        "": "the code does not tell what it is",
    }
    held = "a list or dict of values that cannot, or that the code does not tell, cannot go on"
    if kind.startswith(("list[", "dict[")):
        return held
    return known.get(kind, f"its kind ({kind}) cannot go from step to step")


def _tell_kept(source: Source, maker: Statement, name: str, kind: str) -> None:
    unknown = not kind
    source.find(
        maker.node.lineno,
        "crossing.unknown" if unknown else "crossing.kept_together",
        "note",
        f"what uses `{name}` stands in the step that makes it: {_why(kind)}",
        "If it is a frame, an array or plain data, let a function with a return annotation make it; else nothing."
        if unknown
        else "Nothing; to split them, register a codec for its type.",
    )


def _check_files(source: Source, groups: Groups) -> None:
    written: dict[str, Statement] = {}
    for statement in groups.work:
        for effect in statement.effects:
            path = groups.path(effect.path) if effect.deed in {"read", "write"} else ""
            if effect.deed == "read" and path in written and written[path] is not statement and "*" not in path:
                source.find(
                    effect.line, "file.between", "note", f"{PurePath(path).name} is written and read again: both stand in one step",
                    "Hand the frame on instead of the file.",
                )  # fmt: skip
            elif effect.deed == "write":
                written[path] = statement
