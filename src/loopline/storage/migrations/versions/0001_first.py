"""First."""

import sqlalchemy as sa
from alembic import op

from loopline.storage.columns import Json, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "action_done",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("incident", sa.String(length=40), nullable=True),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("evidence", Json(), nullable=False),
        sa.PrimaryKeyConstraint("project", "key", name=op.f("pk_action_done")),
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("monitor", sa.String(length=200), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("block_start", UtcTime(), nullable=False),
        sa.Column("block_end", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("evidence", Json(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("page", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
    )
    op.create_index(op.f("ix_alarm_project_state_at"), "alarm", ["project", "state", "at"], unique=False)
    op.create_table(
        "applied_loop",
        sa.Column("loop", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("declaration", Json(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("loop", "sequence", name=op.f("pk_applied_loop")),
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("authors", Json(), nullable=False),
        sa.Column("asked_by", sa.String(length=200), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.Column("token", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("counts_until", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index(op.f("ix_approval_project"), "approval", ["project"], unique=False)
    op.create_table(
        "erasure",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("pseudonym", sa.String(length=40), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("receipt", sa.String(length=80), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    op.create_index(op.f("ix_erasure_code"), "erasure", ["code"], unique=False)
    op.create_table(
        "freeze",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_freeze")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("loop", sa.String(length=200), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("well", sa.Boolean(), nullable=False),
        sa.Column("well_at", UtcTime(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("loop", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("closed_at", UtcTime(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("diagnosis", Json(), nullable=False),
        sa.Column("alarms", Json(), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("assignee", sa.String(length=200), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=True),
        sa.Column("acknowledged_at", UtcTime(), nullable=True),
        sa.Column("snoozed_until", UtcTime(), nullable=True),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("escalates_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    op.create_index(op.f("ix_incident_project"), "incident", ["project"], unique=False)
    op.create_table(
        "ingested",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_ingested")),
    )
    op.create_table(
        "ledger",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("prev", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("measured", Json(), nullable=True),
        sa.Column("redacted", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("project", "seq", name=op.f("pk_ledger")),
        sa.UniqueConstraint("project", "key", name=op.f("uq_ledger_project_key")),
    )
    op.create_index(op.f("ix_ledger_project_kind_seq"), "ledger", ["project", "kind", "seq"], unique=False)
    op.create_index(op.f("ix_ledger_project_subject_seq"), "ledger", ["project", "subject", "seq"], unique=False)
    op.create_table(
        "monitor",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("spec", Json(), nullable=False),
        sa.Column("reference", Json(), nullable=False),
        sa.Column("state", Json(), nullable=False),
        sa.Column("watermark", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("project", "model", "name", name=op.f("pk_monitor")),
    )
    op.create_table(
        "notification",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("to", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("message", Json(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent", Json(), nullable=False),
        sa.Column("done_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    op.create_index(op.f("ix_notification_done_at"), "notification", ["done_at"], unique=False)
    op.create_index(op.f("ix_notification_project"), "notification", ["project"], unique=False)
    op.create_table(
        "performance",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("monitor", sa.String(length=200), nullable=False),
        sa.Column("block_start", UtcTime(), nullable=False),
        sa.Column("restated", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("block_end", UtcTime(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.Column("labelled", sa.BigInteger(), nullable=False),
        sa.Column("coverage", sa.Double(), nullable=False),
        sa.Column("base_rate", sa.Double(), nullable=True),
        sa.Column("mean_score", sa.Double(), nullable=True),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("log_loss", sa.Double(), nullable=True),
        sa.Column("brier", sa.Double(), nullable=True),
        sa.Column("baseline_loss", sa.Double(), nullable=True),
        sa.Column("excess", sa.Double(), nullable=True),
        sa.Column("cost", sa.Double(), nullable=True),
        sa.Column("abstained", sa.BigInteger(), nullable=False),
        sa.Column("censored", sa.BigInteger(), nullable=False),
        sa.Column("effective_rows", sa.Double(), nullable=True),
        sa.Column("log_evidence", sa.Double(), nullable=False),
        sa.Column("measured_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("project", "model", "monitor", "block_start", "restated", name=op.f("pk_performance")),
    )
    op.create_table(
        "principal",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("roles", Json(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_principal")),
    )
    op.create_table(
        "profile_block",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("block_start", UtcTime(), nullable=False),
        sa.Column("block_end", UtcTime(), nullable=False),
        sa.Column("counts", Json(), nullable=False),
        sa.PrimaryKeyConstraint("project", "model", "block_start", name=op.f("pk_profile_block")),
    )
    op.create_table(
        "push",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("content", sa.String(length=80), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("answer", Json(), nullable=False),
        sa.Column("body", Json(), nullable=True),
        sa.PrimaryKeyConstraint("source", "key", name=op.f("pk_push")),
    )
    op.create_index(op.f("ix_push_received_at"), "push", ["received_at"], unique=False)
    op.create_table(
        "push_closed",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_push_closed")),
    )
    op.create_table(
        "registered_model",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("project", "model", name=op.f("pk_registered_model")),
    )
    op.create_table(
        "replay",
        sa.Column("loop", sa.String(length=200), nullable=False),
        sa.Column("plan", Json(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.PrimaryKeyConstraint("loop", name=op.f("pk_replay")),
    )
    op.create_table(
        "run",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
    )
    op.create_index(op.f("ix_run_parent"), "run", ["parent"], unique=False)
    op.create_index(
        op.f("ix_run_project_experiment_started_at"), "run", ["project", "experiment", "started_at"], unique=False
    )
    op.create_table(
        "source_asked",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=80), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_source_asked")),
    )
    op.create_table(
        "turn",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("window_start", UtcTime(), nullable=False),
        sa.Column("window_end", UtcTime(), nullable=False),
        sa.Column("summary", Json(), nullable=False),
        sa.Column("measured", Json(), nullable=False),
        sa.PrimaryKeyConstraint("project", "model", "number", name=op.f("pk_turn")),
    )
    op.create_table(
        "decision_version",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("evidence", Json(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "model"],
            ["registered_model.project", "registered_model.model"],
            name=op.f("fk_decision_version_project_registered_model"),
        ),
        sa.PrimaryKeyConstraint("project", "model", "version", name=op.f("pk_decision_version")),
        sa.UniqueConstraint("project", "model", "cause", name=op.f("uq_decision_version_project_model_cause")),
    )
    op.create_table(
        "login",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("used_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["principal"], ["principal.name"], name=op.f("fk_login_principal_principal")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login")),
    )
    op.create_index(op.f("ix_login_principal"), "login", ["principal"], unique=False)
    op.create_table(
        "model_alias",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("change", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("from_at", UtcTime(), nullable=False),
        sa.CheckConstraint("target IN ('model', 'decision')", name=op.f("ck_model_alias_target")),
        sa.ForeignKeyConstraint(
            ["project", "model"],
            ["registered_model.project", "registered_model.model"],
            name=op.f("fk_model_alias_project_registered_model"),
        ),
        sa.PrimaryKeyConstraint("project", "model", "target", "alias", "change", name=op.f("pk_model_alias")),
    )
    op.create_table(
        "model_version",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("package", sa.String(), nullable=False),
        sa.Column("envelope", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("lineage", Json(), nullable=False),
        sa.Column("metrics", Json(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "model"],
            ["registered_model.project", "registered_model.model"],
            name=op.f("fk_model_version_project_registered_model"),
        ),
        sa.PrimaryKeyConstraint("project", "model", "version", name=op.f("pk_model_version")),
        sa.UniqueConstraint("project", "model", "cause", name=op.f("uq_model_version_project_model_cause")),
    )
    op.create_table(
        "run_artifact",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_artifact_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_artifact")),
    )
    op.create_table(
        "run_fact",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", Json(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_fact_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_fact")),
    )
    op.create_table(
        "run_input",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_input_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "kind", "name", "version", name=op.f("pk_run_input")),
    )
    op.create_table(
        "run_metric",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_metric_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "name", "step", name=op.f("pk_run_metric")),
    )
    op.create_table(
        "run_param",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", Json(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_param_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_param")),
    )
    op.create_table(
        "search",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("definition", sa.String(), nullable=False),
        sa.Column("rows", sa.String(), nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.ForeignKeyConstraint(["search_id"], ["run.run_id"], name=op.f("fk_search_search_id_run")),
        sa.PrimaryKeyConstraint("search_id", name=op.f("pk_search")),
    )
    op.create_index(op.f("ix_search_project_model_as_of"), "search", ["project", "model", "as_of"], unique=False)
    op.create_table(
        "token",
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scopes", Json(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["principal"], ["principal.name"], name=op.f("fk_token_principal_principal")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_token_digest")),
    )
    op.create_index(op.f("ix_token_principal"), "token", ["principal"], unique=False)
    op.create_table(
        "trial",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("params", Json(), nullable=False),
        sa.Column("scores", Json(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("measured", Json(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_trial_run_id_run")),
        sa.ForeignKeyConstraint(["search_id"], ["search.search_id"], name=op.f("fk_trial_search_id_search")),
        sa.PrimaryKeyConstraint("search_id", "number", name=op.f("pk_trial")),
    )
