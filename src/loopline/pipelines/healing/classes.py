"""The six classes of errors, and which is which: by names of exceptions, HTTP statuses, errnos, SQLSTATEs, signals.

- `data`: what was read or handed in is wrong: a value, a column, a file that is damaged.
- `access`: it may not be had, or is not there: permission, credentials, a file or key that is missing.
- `capacity`: there is not enough: memory, disk, connections, a rate limit, a lock that others hold.
- `dependency`: something else that is needed does not work: a connection refused, a server's own error.
- `timeout`: it took too long.
- `code`: a mistake in the step, and whatever nothing else is known of.
"""

import errno
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.healing.message import fingerprint
from loopline.pipelines.healing.raised import Raised

ErrorClass = Literal["data", "access", "capacity", "code", "dependency", "timeout"]
CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)

_BY_NAME: dict[ErrorClass, str] = {
    "timeout": """
        builtins.TimeoutError asyncio.exceptions.TimeoutError concurrent.futures._base.TimeoutError socket.timeout
        subprocess.TimeoutExpired httpx.TimeoutException requests.exceptions.Timeout urllib3.exceptions.TimeoutError requests.exceptions.ConnectTimeout
        sqlalchemy.exc.TimeoutError psycopg.errors.QueryCanceled aiohttp.client_exceptions.ServerTimeoutError
        botocore.exceptions.ConnectTimeoutError botocore.exceptions.ReadTimeoutError""",
    "capacity": """
        builtins.MemoryError builtins.BlockingIOError loopline.errors.Conflict
        httpx.PoolTimeout psycopg.errors.DeadlockDetected psycopg.errors.SerializationFailure
        psycopg.errors.LockNotAvailable psycopg.errors.TooManyConnections psycopg.errors.DiskFull
        deltalake.exceptions.CommitFailedError polars.exceptions.OutOfMemoryError
        numpy._core._exceptions._ArrayMemoryError pyarrow.lib.ArrowMemoryError pyarrow.lib.ArrowCapacityError
        duckdb.OutOfMemoryException lmdb.MapFullError ray.exceptions.OutOfMemoryError""",
    "access": """
        builtins.PermissionError builtins.FileNotFoundError builtins.NotADirectoryError builtins.IsADirectoryError
        loopline.errors.AccessDenied loopline.errors.NotFound
        obstore.exceptions.NotFoundError obstore.exceptions.PermissionDeniedError
        obstore.exceptions.UnauthenticatedError deltalake.exceptions.TableNotFoundError
        psycopg.errors.InsufficientPrivilege psycopg.errors.InvalidPassword
        psycopg.errors.InvalidAuthorizationSpecification botocore.exceptions.NoCredentialsError
        botocore.exceptions.CredentialRetrievalError duckdb.PermissionException
        ssl.SSLCertVerificationError""",
    "dependency": """
        builtins.ConnectionError builtins.EOFError socket.gaierror socket.herror ssl.SSLError
        loopline.errors.Unavailable loopline.errors.Frozen
        httpx.TransportError requests.exceptions.ConnectionError requests.exceptions.ChunkedEncodingError
        urllib3.exceptions.HTTPError urllib.error.URLError http.client.HTTPException
        aiohttp.client_exceptions.ClientConnectionError sqlalchemy.exc.OperationalError sqlalchemy.exc.InterfaceError
        psycopg.OperationalError psycopg.InterfaceError sqlite3.OperationalError obstore.exceptions.GenericError
        botocore.exceptions.EndpointConnectionError botocore.exceptions.HTTPClientError
        redis.exceptions.ConnectionError valkey.exceptions.ConnectionError duckdb.IOException
        duckdb.HTTPException ray.exceptions.RayError smtplib.SMTPException
        concurrent.futures.process.BrokenProcessPool""",
    "data": """
        builtins.ValueError builtins.UnicodeError builtins.ArithmeticError json.decoder.JSONDecodeError csv.Error
        loopline.errors.InvalidInput loopline.errors.Corrupt loopline.errors.BadRows
        polars.exceptions.ComputeError polars.exceptions.SchemaError polars.exceptions.SchemaFieldNotFoundError
        polars.exceptions.ColumnNotFoundError polars.exceptions.ShapeError polars.exceptions.NoDataError
        polars.exceptions.StructFieldNotFoundError polars.exceptions.OutOfBoundsError
        polars.exceptions.RowsError polars.exceptions.StringCacheMismatchError polars.exceptions.DuplicateError
        deltalake.exceptions.SchemaMismatchError
        deltalake.exceptions.DeltaProtocolError
        dataframely.exc.ValidationError dataframely.exc.SchemaError dataframely.exc.RuleValidationError
        pyarrow.lib.ArrowInvalid msgspec.ValidationError msgspec.DecodeError pydantic_core._pydantic_core.ValidationError
        psycopg.DataError psycopg.IntegrityError sqlalchemy.exc.DataError sqlalchemy.exc.IntegrityError
        sqlite3.DataError sqlite3.IntegrityError sqlite3.DatabaseError zipfile.BadZipFile gzip.BadGzipFile
        zlib.error lzma.LZMAError duckdb.ConversionException
        duckdb.InvalidInputException pandas.errors.ParserError""",
    "code": """
        builtins.SyntaxError builtins.ImportError builtins.NameError builtins.AttributeError builtins.TypeError
        builtins.LookupError builtins.RecursionError builtins.AssertionError builtins.NotImplementedError builtins.ZeroDivisionError
        loopline.errors.DeclarationError polars.exceptions.InvalidOperationError polars.exceptions.SQLSyntaxError
        sqlalchemy.exc.ProgrammingError sqlalchemy.exc.ArgumentError psycopg.ProgrammingError
        sqlite3.ProgrammingError requests.exceptions.InvalidURL httpx.UnsupportedProtocol httpx.InvalidURL
        duckdb.ParserException duckdb.BinderException
        numpy.exceptions.AxisError""",
}  # fmt: skip

_ERRNOS: dict[ErrorClass, str] = {
    "access": "EACCES EPERM ENOENT EROFS ENOTDIR EISDIR ELOOP",
    "capacity": "ENOSPC EDQUOT EMFILE ENFILE ENOMEM EAGAIN EBUSY ENOBUFS EFBIG EUSERS",
    "timeout": "ETIMEDOUT ETIME",
    "dependency": "ECONNREFUSED ECONNRESET ECONNABORTED EHOSTUNREACH ENETUNREACH ENETDOWN EHOSTDOWN EPIPE EIO ESTALE ENOTCONN",
}

_STATUSES: dict[int, ErrorClass] = {
    400: "code", 401: "access", 402: "access", 403: "access", 404: "access", 405: "code", 407: "access",
    408: "timeout", 409: "capacity", 410: "access", 413: "capacity", 415: "code", 421: "dependency", 422: "data",
    423: "capacity", 425: "dependency", 429: "capacity", 451: "access", 501: "code", 504: "timeout",
    507: "capacity", 511: "access",
}  # fmt: skip

# The longest beginning that fits decides.
_STATES: dict[str, ErrorClass] = {
    "08": "dependency", "0A": "code", "21": "data", "22": "data", "23": "data", "25": "code", "25006": "dependency",
    "25P03": "timeout", "28": "access", "3D": "access", "40": "capacity", "42": "code", "42501": "access",
    "53": "capacity", "54": "capacity", "55": "capacity", "57": "dependency", "57014": "timeout", "57P05": "timeout",
    "58": "dependency", "58030": "dependency", "XX": "dependency",
}  # fmt: skip

_SIGNALS: dict[int, ErrorClass] = {
    signal.SIGXCPU: "timeout", signal.SIGALRM: "timeout", signal.SIGXFSZ: "capacity", signal.SIGTERM: "dependency",
    signal.SIGKILL: "capacity", signal.SIGINT: "dependency", signal.SIGHUP: "dependency", signal.SIGSEGV: "code",
    signal.SIGABRT: "code", signal.SIGBUS: "capacity", signal.SIGFPE: "code", signal.SIGILL: "code",
    signal.SIGPIPE: "dependency",
}  # fmt: skip

# What a name says too little of: words of the message, where the error is one of these.
_WORDS: list[tuple[str, str, ErrorClass]] = [
    ("sqlite3.OperationalError", "database is locked", "capacity"),
    ("sqlite3.OperationalError", "database table is locked", "capacity"),
    ("sqlite3.OperationalError", "database or disk is full", "capacity"),
    ("sqlite3.OperationalError", "unable to open database file", "access"),
    ("sqlite3.OperationalError", "no such", "code"),
    ("sqlite3.OperationalError", "syntax error", "code"),
    ("psycopg.OperationalError", "password authentication failed", "access"),
    ("psycopg.OperationalError", "too many clients", "capacity"),
    ("psycopg.OperationalError", "timeout expired", "timeout"),
    ("builtins.OSError", "No space left on device", "capacity"),
    ("lmdb.Error", "no such file", "access"),
    ("lmdb.Error", "permission denied", "access"),
    ("polars.exceptions.InvalidOperationError", "conversion from", "data"),
    ("polars.exceptions.ComputeError", "No space left on device", "capacity"),
    ("loopline.errors.Unavailable", "writing for <n> seconds", "capacity"),
]

# Of these the cause behind says more, where there is one. SQLAlchemy's own messages quote statements and their values.
_WRAPPERS = {
    "builtins.Exception", "builtins.RuntimeError", "builtins.BaseException", "builtins.ExceptionGroup",
    "concurrent.futures.process._RemoteTraceback", "urllib.error.URLError", "requests.exceptions.ConnectionError",
    "ray.exceptions.RayTaskError",
}  # fmt: skip
_WRAPPING = "sqlalchemy.exc."

_KNOWN: dict[str, ErrorClass] = {name: class_ for class_, names in _BY_NAME.items() for name in names.split()}
_NUMBERS: dict[int, ErrorClass] = {
    getattr(errno, name): class_ for class_, names in _ERRNOS.items() for name in names.split() if hasattr(errno, name)
}
_ALIASES = {
    "pysqlite3.dbapi2.": "sqlite3.",
    "_internal.": "deltalake.exceptions.",
    "_duckdb.": "duckdb.",
    "httpcore.": "httpx.",
}


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """An error with its class, and by what that was told. `fingerprint` is the same for errors of one kind and shape."""

    class_: ErrorClass
    why: str
    name: str
    told: str
    shape: str
    fingerprint: str
    code: str = ""
    source: str = ""


def classify(error: Raised, own: Mapping[str, ErrorClass] | None = None) -> Classified:
    """The error's class. `own` comes first: names of exceptions (with their module, or without), or codes of ours, to classes.

    An error that says little (`RuntimeError`, SQLAlchemy's wrappers) is as the one behind it. Of foreign errors of class `data`
    no message is kept, not even its shape: they quote the rows they failed on.
    """
    links = [*error.chain()]
    found = next((one for link in links if (one := _of_link(link, own or {}))), None)
    found = found or next((one for link in links if (one := _by_name(link, _names(link.types)))), None)
    class_, why, link = found or ("code", "nothing is known of it", error)
    quotes_rows = class_ == "data" and not link.code
    return Classified(
        class_=class_,
        why=why,
        name=link.name,
        told=error.told,
        shape="" if quotes_rows else link.shape,
        fingerprint=fingerprint(class_, link.name, link.shape),
        code=link.code,
        source=next((one.source for one in error.chain() if one.source), ""),
    )


def check_own(own: Mapping[str, str]) -> dict[str, ErrorClass]:
    """A user's table of names to classes, checked. Raises `InvalidInput`."""
    wrong = {name: class_ for name, class_ in own.items() if class_ not in CLASSES or not name}
    if wrong:
        raise InvalidInput(
            "healing.unknown_class",
            f"{wrong!r} names no class of errors",
            remedy=f"Classes are {', '.join(CLASSES)}.",
        )
    return {name: next(one for one in CLASSES if one == class_) for name, class_ in own.items()}


def _of_link(link: Raised, own: Mapping[str, ErrorClass]) -> tuple[ErrorClass, str, Raised] | None:
    names = _names(link.types)
    for name in (link.code, *names, *(name.rpartition(".")[2] for name in names)):
        if name and name in own:
            return own[name], f"declared for {name}", link
    if link.class_ in CLASSES:
        return next(one for one in CLASSES if one == link.class_), f"{link.code} says so", link
    if names and (names[0] in _WRAPPERS or names[0].startswith(_WRAPPING)) and link.behind is not None:
        return None
    return _by_numbers(link) or _by_name(link, names)


def _by_numbers(link: Raised) -> tuple[ErrorClass, str, Raised] | None:
    if link.exit_code is not None or link.out_of_memory:
        return _of_exit(link)
    if link.status is not None and link.status >= 400:  # noqa: PLR2004 - HTTP's
        class_ = _STATUSES.get(link.status, "dependency" if link.status >= 500 else "code")  # noqa: PLR2004
        return class_, f"HTTP status {link.status}", link
    if link.state:
        known = next((link.state[:size] for size in (5, 2) if link.state[:size] in _STATES), None)
        return (_STATES[known], f"SQLSTATE {link.state}", link) if known else None
    if link.number in _NUMBERS:
        return _NUMBERS[link.number], errno.errorcode[link.number], link
    return None


def _of_exit(link: Raised) -> tuple[ErrorClass, str, Raised]:
    if link.out_of_memory:
        return "capacity", "it ran out of memory", link
    return _SIGNALS.get(link.killed_by or 0, "code"), link.told, link


def _by_name(link: Raised, names: Sequence[str]) -> tuple[ErrorClass, str, Raised] | None:
    for name, words, class_ in _WORDS:
        if name in names and words.lower() in link.shape.lower():
            return class_, f"{name.rpartition('.')[2]}: {words}", link
    for name in names:
        if name in _KNOWN:
            return _KNOWN[name], name.removeprefix("builtins."), link
    return None


def _names(types: Iterable[str]) -> list[str]:
    """Names as the table has them: a driver's stand-in is the driver."""
    return [
        next((new + name.removeprefix(old) for old, new in _ALIASES.items() if name.startswith(old)), name)
        for name in types
    ]
