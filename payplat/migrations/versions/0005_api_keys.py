"""API keys of the apps' backends."""

import sqlalchemy as sa
from alembic import op

from payplat.models import Id

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", Id(length=12), nullable=False),
        sa.Column("app", Id(length=64), nullable=False),
        sa.Column("sha256", Id(length=64), nullable=False),
        sa.Column("scopes", Id(length=191), nullable=False),
        sa.Column("note", sa.String(length=191), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
