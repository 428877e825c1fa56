"""A folder with a loop that runs. Nothing that is there is overwritten."""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import msgspec

from loopline.app.scaffold.choice import choose
from loopline.app.scaffold.demo import FIRST, LAST, NAME, demo_files
from loopline.app.scaffold.loop_text import loop_name, loop_text
from loopline.app.scaffold.used import Used, used_from
from loopline.errors import Conflict, InvalidInput
from loopline.storage.files import write_file
from loopline.tables.proposal.extract import extracting


class Scaffold(msgspec.Struct, frozen=True):
    """What was written: `files` in `folder`, declaring the loop `name`; the period that can be replayed, and lines of the loop that need a person."""

    folder: str
    name: str
    files: list[str]
    first: str
    last: str
    decide: list[str]


def scaffold(
    folder: Path, *, now: datetime, where: str | None = None, label: str | None = None, data: str | None = None
) -> Scaffold:
    """Write a loop into `folder`: an example, or one that goes on from what `where` names (see `used_from`).

    Raises `Conflict` where one of the files is there already, before anything is written; `InvalidInput` and `NotFound` where
    no loop can be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput("init.not_a_folder", f"{folder} is not a folder", remedy="Name a folder, or a new one.")
    if where is None:
        files, name, first, last = demo_files(), NAME, FIRST, LAST
    else:
        files, name, first, last = _from(used_from(where, data=data, label=label), folder, now)
    files["README.md"] = _readme(name, first, last).encode()
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise Conflict(
            "init.exists",
            f"{folder} has {', '.join(there)} already",
            remedy="Name another folder, or move them away: nothing is overwritten.",
        )
    for name, content in files.items():
        write_file(folder / name, content)
    decide = [
        line.partition("decide:")[2].strip() for line in files["loop.py"].decode().splitlines() if "decide:" in line
    ]
    return Scaffold(str(folder), name, list(files), first, last, decide)


def _from(used: Used, folder: Path, now: datetime) -> tuple[dict[str, bytes], str, str, str]:
    with ExitStack() as opened:
        extract = opened.enter_context(extracting(used.data))
        other = opened.enter_context(extracting(used.labels)) if used.labels else None
        choice = choose(used, extract, other, now)
        files = {"loop.py": loop_text(used, choice, folder).encode()}
        return files, loop_name(used, choice), choice.pace.first, choice.pace.last


def _readme(name: str, first: str, last: str) -> str:
    commands = [
        ("plan loop.py", "what it declares"),
        (f"replay loop.py --from {first} --until {last}", "run it over history, against other policies"),
        ("check DATA --label COLUMN", "look at data: faults, leaks, bias, drift"),
        (f"status --home .loopline/replays/{name}", "what serves, and how it does"),
        ("apply loop.py", "make it the loop in force"),
        ("up loop.py", "run it for real"),
    ]
    width = max(len(command) for command, _ in commands)
    lines = "\n".join(f"    loopline {command:<{width}}  # {why}" for command, why in commands)
    return f"""# A loop

`loop.py` declares it: where the data comes from, which features, what is predicted, what is good, what is watched, what is
done when it goes wrong. Lines that say `decide` need you.

{lines}

`loopline COMMAND --help` tells more.
"""
