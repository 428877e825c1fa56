"""Secrets that must not be kept: found by the name they go by, and by what they look like."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"

_WORDS = {
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secrets",
    "token",
    "apikey",
    "credential",
    "credentials",
    "authorization",
    "auth",
}
_PAIRS = ("api_key", "access_key", "private_key", "secret_key", "account_key", "signing_key", "auth_key")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[^a-z0-9]+")
_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(@)", re.IGNORECASE)
_LOOKS = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[0-9A-Z]{16}|xox[abpr]-[\w-]{10,}"
    r"|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|AIza[\w-]{30,}|ey[JK][\w-]{8,}\.[\w-]{8,}\.[\w-]+)"
    r"|(?<=Bearer )[\w.~+/-]{8,}=*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_SHORTEST = 6


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret: `db_password`, `--api-key`, `HF_TOKEN`; not `max_tokens` or `tokenizer`."""
    words = [word for word in _BETWEEN.split(_CAMEL.sub("_", name).lower()) if word]
    return bool(_WORDS & set(words)) or any(pair in "_".join(words) for pair in _PAIRS)


def masked(value: Any) -> Any:
    """The JSON value with secrets masked: strings by the name they go by, and whatever looks like one."""
    if isinstance(value, Mapping):
        return {name: _masked_under(name, one) for name, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    return masked_text(value) if isinstance(value, str) else value


def _masked_under(name: str, value: Any) -> Any:
    if is_secret_name(name) and isinstance(value, str) and value:
        return MASK
    if is_secret_name(name) and isinstance(value, list):
        return [MASK if isinstance(one, str) else masked(one) for one in value]
    return masked(value)


def masked_text(text: str, known: Sequence[str] = ()) -> str:
    """The text with passwords in URLs, well-known kinds of token, and the `known` secrets masked."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _LOOKS.sub(MASK, _IN_URL.sub(rf"\g<1>{MASK}\g<3>", text))


def masked_command(command: Sequence[str], known: Sequence[str] = ()) -> list[str]:
    """The arguments of a command with the values of secret options masked: `--token x`, `--token=x`, `TOKEN=x`."""
    shown, hide = [], False
    for argument in command:
        name, sign, _ = argument.partition("=")
        option = argument.startswith("-") or bool(sign)
        if hide and not argument.startswith("-"):
            shown.append(MASK)
        elif option and sign and is_secret_name(name):
            shown.append(f"{name}={MASK}")
        else:
            shown.append(masked_text(argument, known))
        hide = argument.startswith("-") and not sign and is_secret_name(name)
    return shown


def known_secrets(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that are named like secrets, so that they can be masked wherever they appear."""
    return [value for name, value in environment.items() if is_secret_name(name) and len(value) >= _SHORTEST]
