"""Types that routes share: what is injected into them, and texts and numbers within the bounds that storage keeps."""

from typing import Annotated

import msgspec
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter, SkipValidation

from loopline.access.identity import Identity
from loopline.clock import Clock
from loopline.loop.resources import Resources

Home = NamedDependency[SkipValidation[Resources]]
MachineClock = NamedDependency[SkipValidation[Clock]]
Caller = NamedDependency[SkipValidation[Identity]]

_NO_NUL = r"^[^\x00]*$"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_NO_NUL)]
Duration = Annotated[str, msgspec.Meta(max_length=20, pattern=r"^([0-9]{1,6}[smhdw])+$")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=2000, pattern=_NO_NUL)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]

PathVersion = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]
Sequence = Annotated[int, QueryParameter(ge=0, le=2**63 - 1)]


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of what a request's body holds; a field that is not known is refused, not passed over."""


class Because(Body):
    """Why a change is made; it goes into the ledger."""

    reason: Reason
