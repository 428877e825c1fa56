"""What there is to be permitted. Every route declares one of these."""

from enum import StrEnum


class Permission(StrEnum):
    """One thing that a principal may do, written `part:act`."""

    TABLES_READ = "tables:read"
    MODELS_READ = "models:read"
    MODELS_PROMOTE = "models:promote"
    MODELS_APPROVE = "models:approve"
    PREDICTIONS_CREATE = "predictions:create"
    PREDICTIONS_READ = "predictions:read"
    LABELS_WRITE = "labels:write"
    REVIEWS_READ = "reviews:read"
    REVIEWS_ANSWER = "reviews:answer"
    SOURCES_PUSH = "sources:push"
    INCIDENTS_READ = "incidents:read"
    INCIDENTS_ACT = "incidents:act"
    LOOP_APPLY = "loop:apply"
    LOOP_FREEZE = "loop:freeze"
    TOKENS_MANAGE = "tokens:manage"
    LEDGER_READ = "ledger:read"
    STATUS_READ = "status:read"
    PERSONAL_SHOW = "personal:show"
    SUBJECTS_ERASE = "subjects:erase"
