"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None

_TABLES = ("board", "submissions", "entries", "runs", "episodes")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "board",
        sql.Column("key", sql.String(40), primary_key=True),
        sql.Column("value", sql.Text, nullable=False),
    )
    op.create_table(
        "submissions",
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column("digest", sql.String(64), nullable=False, unique=True),
        sql.Column("name", sql.String(80), nullable=False),
        sql.Column("submitted_at", sql.String(32)),
        sql.Column("manifest", sql.Text, nullable=False),
        sql.Column("bundle", sql.LargeBinary, nullable=False),
    )
    op.create_table(
        "entries",
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column(
            "submission", sql.Integer, sql.ForeignKey("submissions.id"), nullable=False, index=True
        ),
        sql.Column("task", sql.String(200), nullable=False, index=True),
        sql.Column("tier", sql.String(40), nullable=False),
        sql.Column("reason", sql.Text, nullable=False),
        sql.UniqueConstraint("submission", "task"),
    )
    op.create_table(
        "runs",
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column("entry", sql.Integer, sql.ForeignKey("entries.id"), nullable=False, index=True),
        sql.Column("name", sql.String(120), nullable=False),
        sql.Column("info", sql.Text, nullable=False),
        sql.Column("config", sql.Text, nullable=False),
        sql.Column("curve", sql.LargeBinary, nullable=False),
        sql.UniqueConstraint("entry", "name"),
    )
    op.create_table(
        "episodes",
        sql.Column("run", sql.Integer, sql.ForeignKey("runs.id"), primary_key=True),
        sql.Column("lines", sql.LargeBinary, nullable=False),
    )
    schema = sql.table("board", sql.column("key"), sql.column("value"))
    op.execute(schema.insert().values(key="schema", value="1"))


def downgrade() -> None:
    """Drop the tables."""
    for name in reversed(_TABLES):
        op.drop_table(name)
