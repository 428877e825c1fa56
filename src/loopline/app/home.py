"""A home, opened: everything one installation owns, made on first use."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loopline.access.pseudonyms import Pseudonyms
from loopline.app.crew import crew_of
from loopline.clock import Clock, SystemClock
from loopline.config import Settings
from loopline.incidents.email import EmailChannel, MailServer, read_addresses
from loopline.incidents.notify import Channel, Channels, LogChannel, WebhookChannel
from loopline.incidents.slack import SlackChannel
from loopline.loop.erasers import Erasing
from loopline.loop.resources import Resources
from loopline.models.signing import SigningKey, create_key, load_signing_key
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.diagnosis.question import Question
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.files import secret_in
from loopline.storage.locks import SharedLock
from loopline.storage.migrations import upgrade
from loopline.tables.tables import Tables

if TYPE_CHECKING:
    import polars as pl

PSEUDONYMS = "pseudonyms.key"


def open_home(settings: Settings, *, clock: Clock | None = None, seed: int = 0, silent: bool = False) -> Resources:
    """Open the home, making and migrating what is missing.

    With `silent` nobody is told of anything. Raises `Unavailable` where the database cannot be reached or is unsafe, and as `crew_of`.
    """
    used = clock or SystemClock()
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database.open(settings.database_url, durable=settings.durable)
    upgrade(database)
    key = _signing_key(settings.keys_path)
    pseudonyms = _pseudonyms(settings)
    resources = Resources(
        database=database,
        tables=Tables(
            settings.tables_url, durable=settings.durable, clock=used, pseudonyms=pseudonyms, locks=settings.locks_path
        ),
        artifacts=open_artifacts(settings.artifacts_url, durable=settings.durable),
        key=key,
        clock=used,
        channels=Channels([]) if silent else _channels(settings),
        seed=seed,
        manifests=settings.manifests_path,
        pseudonyms=pseudonyms,
        activity=SharedLock(settings.home / "activity.lock"),
        erasing=lambda: _erasing(settings, resources),
        crew=crew_of(settings),
        diagnoser=_diagnose,
    )
    return resources


def _erasing(settings: Settings, resources: Resources) -> Erasing:
    from loopline.app.erasure.erasers import erasing_of  # noqa: PLC0415 - only an erasure needs every part

    return erasing_of(settings, resources, open_home)


def _diagnose(rows: "pl.DataFrame", question: Question) -> list[Cause]:
    from loopline.app.study.of_log import diagnose_rows  # noqa: PLC0415 - only a harm needs it

    return diagnose_rows(rows, question)


def _signing_key(folder: Path) -> SigningKey:
    return load_signing_key(folder) if any(folder.glob("*")) else create_key(folder)


def _pseudonyms(settings: Settings) -> Pseudonyms:
    """A replay's home below another one calls persons as that one does."""
    above = replace(settings, home=settings.home.parent.parent)
    shared = settings.home.parent == above.replays_path and (above.keys_path / PSEUDONYMS).exists()
    return Pseudonyms(secret_in((above if shared else settings).keys_path / PSEUDONYMS))


def _channels(settings: Settings) -> Channels:
    channels: list[Channel] = [LogChannel()]
    if settings.webhook_url:
        channels.append(
            WebhookChannel(
                settings.webhook_url,
                allow_private=settings.webhook_private,
                least=settings.webhook_severity,
                secret=settings.webhook_secret,
            )
        )
    if settings.slack_url:
        private = settings.webhook_private
        channels.append(SlackChannel(settings.slack_url, allow_private=private, least=settings.slack_severity))
    if settings.smtp_host:
        channels.append(_mail(settings))
    return Channels(channels)


def _mail(settings: Settings) -> EmailChannel:
    server = MailServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_user,
        settings.smtp_password,
    )
    addresses = read_addresses(settings.smtp_to)
    return EmailChannel(server, sender=settings.smtp_from, addresses=addresses, least=settings.smtp_severity)
