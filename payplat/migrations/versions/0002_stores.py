"""What stores need: evidence with the provider's answer, refunds by share, duties that wait for a release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from payplat.models import Id

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ANSWER = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql")
_DUTY_STATUS = "status in ('due','held','done','exhausted')"


def upgrade() -> None:
    op.add_column(
        "orders", sa.Column("consumable", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column("orders", sa.Column("waits", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("refunds", sa.Column("share", sa.Integer(), nullable=True))
    op.add_column("refunds", sa.Column("type", Id(length=32), nullable=False, server_default=""))
    op.add_column("refunds", sa.Column("refunded_at", sa.BigInteger(), nullable=True))
    op.add_column("refunds", sa.Column("returned", sa.Integer(), nullable=True))
    op.add_column("evidence", sa.Column("transaction_key", Id(length=64), nullable=True))
    op.add_column("evidence", sa.Column("answer", _ANSWER, nullable=True))
    op.create_index(op.f("ix_evidence_transaction_key"), "evidence", ["transaction_key"])
    # SQLite cannot change a check: there the batch makes the table again.
    with op.batch_alter_table("duties") as duties:
        duties.drop_constraint(op.f("ck_duties_status"), type_="check")
        duties.create_check_constraint(op.f("ck_duties_status"), _DUTY_STATUS)
