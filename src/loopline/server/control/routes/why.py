"""Why a prediction, an alarm, an incident or a version is as it is."""

from litestar import get
from litestar.params import FromPath

from loopline.access.identity import require
from loopline.access.permissions import Permission
from loopline.loop.why import Why, why
from loopline.server.control.inputs import Caller, Home

_NEEDED = {
    "prediction": Permission.PREDICTIONS_READ,
    "alarm": Permission.INCIDENTS_READ,
    "incident": Permission.INCIDENTS_READ,
    "version": Permission.MODELS_READ,
}


@get("/why/{subject:str}", permission=Permission.LEDGER_READ, sync_to_thread=True)
def explain(home: Home, caller: Caller, subject: FromPath[str]) -> Why:
    """Explain an id, or `MODEL:VERSION`; besides the ledger's permission it takes that of the thing itself."""
    found = why(home, subject)
    require(caller, _NEEDED[found.kind])
    return found
