"""Endpoints that are paused, duties that are void, and when an order's provider was asked last."""

import sqlalchemy as sa
from alembic import op

from payplat.models import Id

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_DUTY_STATUS = "status in ('due','held','void','done','exhausted')"


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("endpoint", Id(length=130), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", Id(length=191), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name=op.f("pk_pauses")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.add_column("orders", sa.Column("checked_at", sa.BigInteger(), nullable=True))
    # SQLite cannot change a check: there the batch makes the table again.
    with op.batch_alter_table("duties") as duties:
        duties.drop_constraint(op.f("ck_duties_status"), type_="check")
        duties.create_check_constraint(op.f("ck_duties_status"), _DUTY_STATUS)
