"""Operators with their sessions, acts and proposals; signs of the channels; what an order is searched by."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from payplat.models import Id, Serial

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_MYSQL: Any = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
_EVIDENCE = "state in ('used','waiting','quarantined','unclaimed','excess','resolved')"


def upgrade() -> None:
    op.create_table(
        "operators",
        sa.Column("name", Id(length=64), nullable=False),
        sa.Column("role", Id(length=16), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("totp_secret", sa.Text(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role in ('viewer','operator')", name=op.f("ck_operators_role")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operators")),
        **_MYSQL,
    )
    op.create_table(
        "sessions",
        sa.Column("sha256", Id(length=64), nullable=False),
        sa.Column("operator", Id(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sessions")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_sessions_operator"), "sessions", ["operator"])
    op.create_table(
        "audit",
        sa.Column("id", Serial, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("operator", Id(length=64), nullable=False),
        sa.Column("act", Id(length=32), nullable=False),
        sa.Column("subject", Id(length=191), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_audit_subject_id"), "audit", ["subject", "id"])
    op.create_table(
        "proposals",
        sa.Column("id", Serial, nullable=False),
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("act", Id(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", Id(length=64), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("open_for", Id(length=32), nullable=True),
        sa.Column("decision", Id(length=16), nullable=True),
        sa.Column("decided_by", Id(length=64), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("act in ('release','refund')", name=op.f("ck_proposals_act")),
        sa.CheckConstraint(
            "decision in ('approved','rejected')", name=op.f("ck_proposals_decision")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
        sa.UniqueConstraint("open_for", name=op.f("uq_proposals_open_for")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_proposals_order_no"), "proposals", ["order_no"])
    op.create_table(
        "signs",
        sa.Column("channel", Id(length=64), nullable=False),
        sa.Column("what", Id(length=32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "what", name=op.f("pk_signs")),
        **_MYSQL,
    )
    op.add_column("payments", sa.Column("receipt", Id(length=191), nullable=True))
    op.create_index(op.f("ix_payments_receipt"), "payments", ["receipt"])
    op.create_index(op.f("ix_payments_verified_at"), "payments", ["verified_at"])
    op.create_index(
        op.f("ix_payments_transaction_id"), "payments", ["transaction_id"], mysql_length=64
    )
    op.add_column("evidence", sa.Column("resolution", sa.Text(), nullable=True))
    # SQLite cannot change a check: there the batch makes the table again.
    with op.batch_alter_table("evidence") as evidence:
        evidence.drop_constraint(op.f("ck_evidence_state"), type_="check")
        evidence.create_check_constraint(op.f("ck_evidence_state"), _EVIDENCE)
