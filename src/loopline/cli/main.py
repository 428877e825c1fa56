"""The entry point `loopline`. It knows the commands' names; a command's module is imported when it is called."""

import gc
import sys
from importlib import import_module
from typing import Any

from loopline.errors import (
    AccessDenied,
    Conflict,
    Corrupt,
    Frozen,
    InvalidInput,
    LooplineError,
    NotFound,
    Unavailable,
)

COMMANDS = {
    "init": "Write a loop that runs: an example, or one from data.",
    "adopt": "Turn a notebook or a script into a pipeline file, and say what could not be decided.",
    "plan": "What a changed loop file would change, before it does.",
    "apply": "Make a loop file the one in force.",
    "replay": "Run the loop over history, against other policies.",
    "search": "Search a model's parameters on the data there is.",
    "reproduce": "Build a registered version again and compare it, bit for bit.",
    "report": "Write the report of a replay again, or of what is watched.",
    "up": "Run the loop for real: control plane, scheduler, scoring, pipelines.",
    "watch": "Is a model harmed, since when and why: from files of predictions and labels. Or: has a number moved.",
    "serve": "Serve a model file: signed, authenticated, every prediction logged.",
    "predict": "Ask a running endpoint for predictions.",
    "score": "Score a table, files or a query into a table or file, all at once.",
    "status": "What serves, since when, and how it does.",
    "monitors": "Every monitor: how close to an alarm, what it allows, its alarms.",
    "playbook": "What the playbook would do at the next turn, and why; nothing is done.",
    "budget": "False pages: how many are allowed, what is spent, how small a harm would be seen.",
    "ask": "Which predictions to ask a person about, drawn by chance.",
    "why": "Explain a prediction, an alarm, an incident or a version.",
    "explain": "Which fields matter to a version, or made one prediction what it is.",
    "bias": "What a model does to groups of people, and how far apart they are.",
    "incidents": "Incidents: list, acknowledge, snooze, assign, escalate, resolve.",
    "alive": "Whether `up` completed its turns in time lately, for cron.",
    "card": "The model card of a version, from what is recorded.",
    "pipelines": "Durable pipelines: run, back-fill, plan and put in force, list, show.",
    "executions": "Executions of pipelines: list, show, cancel, resume, run again, ask why.",
    "worker": "Run the steps of pipelines until it is stopped.",
    "models": "Registered models, their versions and what they were promoted on.",
    "promote": "Make a version the champion.",
    "approvals": "What waits for a person's approval, and what came of it.",
    "approve": "Approve that a version enters an environment.",
    "reject": "Refuse an approval.",
    "review": "Predictions that people label: list, next, show, answer, skip, release.",
    "deploy": "Put a version in service: as champion, canary, split or shadow.",
    "canary": "What runs beside champions and how it does; grow, promote, stop.",
    "shadow": "Compare a shadow with the champion.",
    "endpoints": "What is served where, how much, how well.",
    "rollback": "Bring back the earlier champion.",
    "decisions": "What decides a model's scores, and did; bring an earlier decision back.",
    "decide": "Decide on other costs; the model stays.",
    "doctor": "Look a home over: what is wrong, what it means; mend it.",
    "tidy": "Make small files fewer, remove what nothing needs.",
    "backup": "Back a home up while everything goes on.",
    "restore": "Make a new home out of a backup.",
    "erase": "Erase a person everywhere, with a receipt.",
    "freeze": "Stop all automatic action at once.",
    "unfreeze": "Allow automatic action again.",
    "check": "Look at data: schema, faults, leaks, bias, drift.",
    "track": "Run a script as a run, with all that is worth knowing about it.",
    "runs": "Tracked runs: list, show, compare.",
    "consumers": "Who reads which tables from outside, and whether they get what they count on.",
    "sources": "Sources: how fresh, how they were asked last; or try each.",
    "errors": "Which errors of pipelines recur, when, what healing cost and what it hides.",
    "schedules": "Schedules of pipelines: next fire times, ticks; pause, resume, webhooks.",
    "tables": "Tables, their versions, quarantined rows.",
    "ledger": "Show or verify the ledger.",
    "tokens": "Issue, list and revoke tokens.",
}

EXIT_CODES: list[tuple[type[LooplineError], int]] = [
    (InvalidInput, 2),
    (NotFound, 3),
    (Conflict, 4),
    (AccessDenied, 5),
    (Corrupt, 6),
    (Frozen, 7),
    (Unavailable, 8),
]


def main() -> None:
    """Run the command that the arguments name; exit codes tell scripts what went wrong."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        sys.stdout.write(help_text())
    elif arguments[0] == "--version":
        sys.stdout.write(f"loopline {import_module('loopline').__version__}\n")
    elif arguments[0] in COMMANDS:
        sys.exit(_run(arguments[0], arguments[1:]))
    else:
        sys.stderr.write(f"loopline: there is no command {arguments[0]!r}\n{_nearest(arguments[0])}")
        sys.exit(2)


def help_text() -> str:
    """What `loopline --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {told}" for name, told in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: loopline COMMAND [OPTIONS]",
            "",
            "Runs machine learning as a closed loop: declare it once in Python, replay it, operate it.",
            "",
            "Commands:",
            *lines,
            "",
            "`loopline COMMAND --help` tells more. Every command that prints takes --json and --home (or LOOPLINE_HOME).",
            "Exit codes: 0 done, 2 wrong input, 3 not found, 4 conflict, 5 access denied, 6 corrupt, 7 frozen, 8 unavailable, 10 something found (adopt, check, watch).",
            "",
        ]
    )


def _run(name: str, arguments: list[str]) -> int:
    module = _imported(name)
    try:
        module.app(args=arguments, prog_name=f"loopline {name}", standalone_mode=True)
    except LooplineError as error:
        return _tell(error, as_json="--json" in arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return 0


def _imported(name: str) -> Any:
    """The command's module. What is imported stays, so that looking for garbage among it, a seventh of a command's start, finds none."""
    gc.disable()
    import_module("loopline.cli.output").log_to_stderr()
    module = import_module(f"loopline.cli.{name}")
    gc.freeze()
    gc.enable()
    return module


def _tell(error: LooplineError, *, as_json: bool) -> int:
    if as_json:
        msgspec = import_module("msgspec")
        sys.stdout.write(msgspec.json.encode({"error": error.as_dict()}).decode() + "\n")
    else:
        sys.stderr.write(f"loopline: {error.message} [{error.code}]\n")
        sys.stderr.write(f"{error.remedy}\n" if error.remedy else "")
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def _nearest(name: str) -> str:
    close = import_module("difflib").get_close_matches(name, COMMANDS, n=1)
    return f"Did you mean `loopline {close[0]}`?\n" if close else "`loopline --help` lists them.\n"
