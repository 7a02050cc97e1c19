"""Films of entries."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "films",
        sql.Column("entry", sql.Integer, sql.ForeignKey("entries.id"), primary_key=True),
        sql.Column("mp4", sql.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop the table: workers film again what is missing."""
    op.drop_table("films")
