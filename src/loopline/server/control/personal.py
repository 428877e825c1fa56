"""What of a table's rows leaves through the API: nothing that is about a person."""

from collections.abc import Sequence

from loopline.errors import NotPermitted
from loopline.tables.schema import TableSchema


def served_columns(name: str, schema: TableSchema, asked: Sequence[str] | None) -> list[str]:
    """The columns to read: those asked for, or all.

    In a table with personal columns the key counts as personal, since it may be made of them. No permission lifts this.
    Raises `NotPermitted` "table.personal".
    """
    kept_back = {*schema.personal, "_key"} if schema.personal else set()
    wanted = list(schema.all_columns) if asked is None else list(asked)
    refused = [column for column in wanted if column in kept_back]
    if refused:
        free = [column for column in schema.all_columns if column not in kept_back]
        raise NotPermitted(
            "table.personal",
            f"{name} holds columns about persons, which are not served here: {', '.join(refused)}",
            remedy=f"Ask for other columns: ?{'&'.join(f'columns={column}' for column in free)}",
            columns=refused,
        )
    return wanted
