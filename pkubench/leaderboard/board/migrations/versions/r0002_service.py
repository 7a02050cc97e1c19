"""What a served board needs: settings, secret episodes, tokens, rates, jobs and uploads."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = ("settings", "secret_episodes", "tokens", "rates", "jobs", "uploads")


def upgrade() -> None:
    """Make the tables; the version of the schema is Alembic's from now on."""
    op.create_table(
        "settings",
        sql.Column("key", sql.String(40), primary_key=True),
        sql.Column("value", sql.Text, nullable=False),
    )
    op.create_table(
        "secret_episodes",
        sql.Column("run", sql.Integer, sql.ForeignKey("runs.id"), primary_key=True),
        sql.Column("lines", sql.LargeBinary, nullable=False),
    )
    op.create_table(
        "tokens",
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column("name", sql.String(80), nullable=False),
        sql.Column("role", sql.String(20), nullable=False),
        sql.Column("sha256", sql.String(64), nullable=False, unique=True),
        sql.Column("created_at", sql.Double, nullable=False),
        sql.Column("expires_at", sql.Double),
        sql.Column("revoked_at", sql.Double),
    )
    op.create_table(
        "rates",
        sql.Column("key", sql.String(120), primary_key=True),
        sql.Column("arrival", sql.Double, nullable=False),
    )
    op.create_table(
        "jobs",
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column("digest", sql.String(64), nullable=False, unique=True),
        sql.Column("name", sql.String(80), nullable=False),
        sql.Column("token", sql.Integer, sql.ForeignKey("tokens.id")),
        sql.Column("state", sql.String(20), nullable=False, index=True),
        sql.Column("created_at", sql.Double, nullable=False),
        sql.Column("not_before", sql.Double, nullable=False),
        sql.Column("attempt", sql.Integer, nullable=False),
        sql.Column("worker", sql.String(120)),
        sql.Column("lease_until", sql.Double),
        sql.Column("progress", sql.Text, nullable=False),
        sql.Column("finished_at", sql.Double),
        sql.Column("reason", sql.Text, nullable=False),
        sql.Column("verdicts", sql.Text, nullable=False),
    )
    op.create_table(
        "uploads",
        sql.Column("job", sql.Integer, sql.ForeignKey("jobs.id"), primary_key=True),
        sql.Column("bundle", sql.LargeBinary, nullable=False),
    )
    op.drop_table("board")


def downgrade() -> None:
    """Drop the tables, with what is in them."""
    for name in reversed(_TABLES):
        op.drop_table(name)
    op.create_table(
        "board",
        sql.Column("key", sql.String(40), primary_key=True),
        sql.Column("value", sql.Text, nullable=False),
    )
    schema = sql.table("board", sql.column("key"), sql.column("value"))
    op.execute(schema.insert().values(key="schema", value="1"))
