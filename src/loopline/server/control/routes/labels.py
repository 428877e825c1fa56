"""Labels that are pushed by whoever learns the outcome."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.params import FromPath, JSONBody

from loopline.access.permissions import Permission
from loopline.labels.intake import GivenLabel, Pushed, label_table, push_labels
from loopline.loop.deployment import declared_output
from loopline.scoring.record import prediction_table
from loopline.server.control.inputs import Body, Caller, Home

_BODY_LIMIT = 8 << 20


class Labels(Body):
    """Outcomes, kept all or none."""

    labels: Annotated[list[GivenLabel], msgspec.Meta(min_length=1, max_length=20_000)]


@post(
    "/projects/{project:str}/models/{model:str}/labels",
    permission=Permission.LABELS_WRITE,
    status_code=200,
    request_max_body_size=_BODY_LIMIT,
    sync_to_thread=True,
)
def push(home: Home, caller: Caller, project: FromPath[str], model: FromPath[str], data: JSONBody[Labels]) -> Pushed:
    """Keep the labels; repeating a push changes nothing."""
    with home.database.reading() as tx:
        classes = declared_output(tx, project, model).classes
    with home.activity.shared():
        return push_labels(
            home.tables,
            label_table(project, model),
            data.labels,
            predictions=prediction_table(project, model),
            at=home.clock.now(),
            actor=caller.principal,
            classes=classes,
        )
