"""Fewer, larger files with the same rows in the same order."""

from urllib.parse import quote

from loopline.tables import datafile
from loopline.tables.actions import Action, Remove, commit_info
from loopline.tables.datafile import DataFile
from loopline.tables.folder import Folder
from loopline.tables.log import Log

_ANY, _QUARTER = 2, 4


def compact(log: Log, folder: Folder, target_rows: int, timestamp: int, *, fewest: int) -> int:
    """Rewrite each run of at least `fewest` neighbouring files of at most `target_rows` rows together as one file, in one commit;
    returns how many files that saved. `timestamp` is in milliseconds since 1970 UTC.

    Rows are held in memory one run at a time. The old files stay for older versions. Appends may go on meanwhile; a run that
    another compaction took first is left out.
    """
    rewritten = [
        (run, _rewrite(log, folder, run, timestamp)) for run in runs(log.refresh().files(), target_rows, fewest)
    ]
    saved = 0

    def build() -> list[Action] | None:
        nonlocal saved
        present = {file.path for file in log.files()}
        standing = [(run, added) for run, added in rewritten if all(file.path in present for file in run)]
        saved = sum(len(run) - 1 for run, _ in standing)
        removed = [
            Action(remove=Remove(quote(file.path), data_change=False, deletion_timestamp=timestamp))
            for run, _ in standing
            for file in run
        ]
        info = Action(commit_info("compact", "OPTIMIZE", timestamp))
        return [info, *removed, *(added for _, added in standing)] if standing else None

    log.commit(build)
    return saved


def runs(files: list[DataFile], target_rows: int, fewest: int) -> list[list[DataFile]]:
    """The runs that `compact` takes. Where `fewest` is more than two, a file that holds a quarter of `target_rows` is left as it
    is, so that rows that are compacted again and again are rewritten a few times only.
    """
    largest = target_rows if fewest <= _ANY else target_rows // _QUARTER
    found: list[list[DataFile]] = [[]]
    held = 0
    for file in files:
        if held + file.rows > target_rows or file.rows > largest:
            found.append([])
            held = 0
        if file.rows <= largest:
            found[-1].append(file)
            held += file.rows
    return [run for run in found if len(run) >= max(fewest, _ANY)]


def _rewrite(log: Log, folder: Folder, run: list[DataFile], timestamp: int) -> Action:
    schema = log.schema().all_columns
    rows = datafile.read(folder, run, schema, list(schema))
    name = "compact\x00" + "\x00".join(file.path for file in run)
    return Action(add=datafile.write_one(folder, rows, name, timestamp, order=run[0].order, data_change=False))
