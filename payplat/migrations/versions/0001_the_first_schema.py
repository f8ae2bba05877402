"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from payplat.models import Id

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("duty_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("ok", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attempts_delivery_id"), ["delivery_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_attempts_duty_id"), ["duty_id"], unique=False)

    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", Id(length=40), nullable=False),
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("endpoint", Id(length=130), nullable=False),
        sa.Column("status", Id(length=16), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lease_token", Id(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status in ('due','delivered','exhausted')", name=op.f("ck_deliveries_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("event_id", "endpoint", name=op.f("uq_deliveries_event_id_endpoint")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_deliveries_endpoint_status_due_at_id"),
            ["endpoint", "status", "due_at", "id"],
            unique=False,
        )

    op.create_table(
        "duties",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("channel", Id(length=64), nullable=False),
        sa.Column("what", Id(length=32), nullable=False),
        sa.Column("cause", Id(length=191), nullable=False),
        sa.Column("status", Id(length=16), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lease_token", Id(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status in ('due','done','exhausted')", name=op.f("ck_duties_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duties")),
        sa.UniqueConstraint(
            "order_no", "what", "cause", name=op.f("uq_duties_order_no_what_cause")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("duties", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_duties_channel_status_due_at_id"),
            ["channel", "status", "due_at", "id"],
            unique=False,
        )

    op.create_table(
        "events",
        sa.Column("event_id", Id(length=40), nullable=False),
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("app", Id(length=64), nullable=False),
        sa.Column("type", Id(length=64), nullable=False),
        sa.Column("cause", Id(length=200), nullable=False),
        sa.Column("body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
        sa.UniqueConstraint(
            "order_no", "type", "cause", name=op.f("uq_events_order_no_type_cause")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "evidence",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", Id(length=32), nullable=False),
        sa.Column("environment", Id(length=16), nullable=False),
        sa.Column("sha256", Id(length=64), nullable=False),
        sa.Column("order_no", Id(length=64), nullable=True),
        sa.Column("source", Id(length=16), nullable=False),
        sa.Column("state", Id(length=16), nullable=False),
        sa.Column("reason", Id(length=64), nullable=False),
        sa.Column(
            "raw", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql"), nullable=False
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state in ('used','waiting','quarantined','unclaimed','excess')",
            name=op.f("ck_evidence_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence")),
        sa.UniqueConstraint(
            "kind", "environment", "sha256", name=op.f("uq_evidence_kind_environment_sha256")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evidence_order_no"), ["order_no"], unique=False)
        batch_op.create_index(batch_op.f("ix_evidence_state_id"), ["state", "id"], unique=False)

    op.create_table(
        "orders",
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("app", Id(length=64), nullable=False),
        sa.Column("channel", Id(length=64), nullable=False),
        sa.Column("kind", Id(length=32), nullable=False),
        sa.Column("environment", Id(length=16), nullable=False),
        sa.Column("account", Id(length=128), nullable=False),
        sa.Column("method", Id(length=32), nullable=False),
        sa.Column("product_id", Id(length=128), nullable=False),
        sa.Column("sku", Id(length=191), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", Id(length=3), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("receiver", Id(length=128), nullable=False),
        sa.Column("metadata", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql"), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("idempotency_key", Id(length=255), nullable=True),
        sa.Column("request_sha256", Id(length=64), nullable=False),
        sa.Column("status", Id(length=16), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("payment", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql"), nullable=True),
        sa.Column("preparing_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("next_check_at", sa.BigInteger(), nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("lease_token", Id(length=32), nullable=True),
        sa.CheckConstraint(
            "status in ('pending','paid','closed','held','refunded')", name=op.f("ck_orders_status")
        ),
        sa.CheckConstraint(
            "(amount is null) = (currency is null)", name=op.f("ck_orders_currency")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_orders_amount")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_orders_quantity")),
        sa.CheckConstraint("refunded >= 0", name=op.f("ck_orders_refunded")),
        sa.PrimaryKeyConstraint("order_no", name=op.f("pk_orders")),
        sa.UniqueConstraint(
            "app",
            "receiver",
            "idempotency_key",
            name=op.f("uq_orders_app_receiver_idempotency_key"),
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_orders_channel_status_next_check_at"),
            ["channel", "status", "next_check_at"],
            unique=False,
        )

    op.create_table(
        "payments",
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("transaction_key", Id(length=64), nullable=False),
        sa.Column("kind", Id(length=32), nullable=False),
        sa.Column("environment", Id(length=16), nullable=False),
        sa.Column("account", Id(length=128), nullable=False),
        sa.Column(
            "transaction_id", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql"), nullable=False
        ),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", Id(length=3), nullable=True),
        sa.Column("product", Id(length=191), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("payer", Id(length=191), nullable=True),
        sa.Column("paid_at", sa.BigInteger(), nullable=True),
        sa.Column("verified_at", sa.BigInteger(), nullable=False),
        sa.Column("verifier", Id(length=128), nullable=False),
        sa.Column("evidence_sha256", Id(length=64), nullable=False),
        sa.PrimaryKeyConstraint("order_no", name=op.f("pk_payments")),
        sa.UniqueConstraint("transaction_key", name=op.f("uq_payments_transaction_key")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("kind", Id(length=32), nullable=False),
        sa.Column("environment", Id(length=16), nullable=False),
        sa.Column("account", Id(length=128), nullable=False),
        sa.Column("transaction_key", Id(length=64), nullable=False),
        sa.Column("refund_key", Id(length=191), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("whole", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("reversed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint(
            "kind",
            "environment",
            "account",
            "refund_key",
            name=op.f("uq_refunds_kind_environment_account_refund_key"),
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refunds_order_no"), ["order_no"], unique=False)

    op.create_table(
        "sweeps",
        sa.Column("name", Id(length=64), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("lease_token", Id(length=32), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sweeps")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "timeline",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_no", Id(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("what", Id(length=32), nullable=False),
        sa.Column("actor", Id(length=64), nullable=False),
        sa.Column("detail", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timeline")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_timeline_order_no_id"), ["order_no", "id"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_timeline_order_no_id"))

    op.drop_table("timeline")
    op.drop_table("sweeps")
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_refunds_order_no"))

    op.drop_table("refunds")
    op.drop_table("payments")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_orders_channel_status_next_check_at"))

    op.drop_table("orders")
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_evidence_state_id"))
        batch_op.drop_index(batch_op.f("ix_evidence_order_no"))

    op.drop_table("evidence")
    op.drop_table("events")
    with op.batch_alter_table("duties", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_duties_channel_status_due_at_id"))

    op.drop_table("duties")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deliveries_endpoint_status_due_at_id"))

    op.drop_table("deliveries")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_attempts_duty_id"))
        batch_op.drop_index(batch_op.f("ix_attempts_delivery_id"))

    op.drop_table("attempts")
