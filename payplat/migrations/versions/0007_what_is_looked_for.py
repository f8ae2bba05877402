"""What operators look for: a user's orders in all apps, a refund by its number, what was acknowledged when."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_orders_receiver_order_no"), "orders", ["receiver", "order_no"])
    op.create_index(op.f("ix_refunds_refund_key"), "refunds", ["refund_key"])
    op.create_index(op.f("ix_deliveries_delivered_at"), "deliveries", ["delivered_at"])
