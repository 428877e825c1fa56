"""Keys: are they there, and for their owner only."""

from collections.abc import Iterator
from pathlib import Path

from loopline.app.doctor.finding import Examined, Finding
from loopline.app.home import PSEUDONYMS
from loopline.errors import LooplineError
from loopline.models.signing import load_public_keys, load_signing_key

_PUBLIC = ".pub.pem"


def check(one: Examined) -> Iterator[Finding]:
    """Permissions, the signing key, the key of pseudonyms."""
    folder = one.settings.keys_path
    for path in sorted(folder.glob("*")):
        mode = path.stat().st_mode & 0o777
        if mode & 0o077 and not path.name.endswith(_PUBLIC):
            yield Finding(
                "keys.readable",
                "error",
                f"{path} can be read by others (mode {mode:03o})",
                "Whoever reads it can sign models that are taken for yours, or tell whose pseudonym is whose.",
                f"chmod 600 {path}; if others may have read it, make a new key.",
                lambda path=path: _close(path),  # type: ignore[misc]  # mypy does not infer a default's type here
            )
    try:
        load_signing_key(folder)
        load_public_keys(folder)
    except LooplineError as error:
        means = "Nothing can be signed, or what was signed cannot be checked: no version can be promoted or served."
        yield Finding(error.code, "error", error.message, means, "Put the keys back from a backup.")
    if not (folder / PSEUDONYMS).exists() and one.tables.blocked.content() is not None:
        yield Finding(
            "keys.pseudonyms_missing",
            "error",
            f"{folder / PSEUDONYMS} is gone, and persons were erased here",
            "Nobody can tell any more whose rows were erased, so none are taken.",
            "Put it back from a backup. Do not let another be made.",
        )


def _close(path: Path) -> str:
    path.chmod(0o600)
    return f"{path.name} is for its owner only now"
