"""Events page by page: an app's own events in the order of their ids, all of them or those of one type."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_events_app_event_id"), "events", ["app", "event_id"])
    op.create_index(op.f("ix_events_app_type_event_id"), "events", ["app", "type", "event_id"])
