"""The tables of a board, as the newest migration leaves them. Times are seconds since 1970."""

from __future__ import annotations

import sqlalchemy as sql

METADATA = sql.MetaData()
SETTINGS = sql.Table(
    "settings",
    METADATA,
    sql.Column("key", sql.String(40), primary_key=True),
    sql.Column("value", sql.Text, nullable=False),
)
"""``version``, which counts the changes of what pages show; ``secret``, see ``secret_seeds``."""
SUBMISSIONS = sql.Table(
    "submissions",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False, unique=True),
    sql.Column("name", sql.String(80), nullable=False),
    sql.Column("submitted_at", sql.String(32)),
    sql.Column("manifest", sql.Text, nullable=False),
    sql.Column("bundle", sql.LargeBinary, nullable=False),
)
ENTRIES = sql.Table(
    "entries",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column(
        "submission", sql.Integer, sql.ForeignKey("submissions.id"), nullable=False, index=True
    ),
    sql.Column("task", sql.String(200), nullable=False, index=True),
    sql.Column("tier", sql.String(40), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.UniqueConstraint("submission", "task"),
)
RUNS = sql.Table(
    "runs",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("entry", sql.Integer, sql.ForeignKey("entries.id"), nullable=False, index=True),
    sql.Column("name", sql.String(120), nullable=False),
    sql.Column("info", sql.Text, nullable=False),
    sql.Column("config", sql.Text, nullable=False),
    sql.Column("curve", sql.LargeBinary, nullable=False),
    sql.UniqueConstraint("entry", "name"),
)
EPISODES = sql.Table(
    "episodes",
    METADATA,
    sql.Column("run", sql.Integer, sql.ForeignKey("runs.id"), primary_key=True),
    sql.Column("lines", sql.LargeBinary, nullable=False),
)


SECRET_EPISODES = sql.Table(
    "secret_episodes",
    METADATA,
    sql.Column("run", sql.Integer, sql.ForeignKey("runs.id"), primary_key=True),
    sql.Column("lines", sql.LargeBinary, nullable=False),
)
"""Lines of the episodes that only the board knows. Their seeds never leave it."""
FILMS = sql.Table(
    "films",
    METADATA,
    sql.Column("entry", sql.Integer, sql.ForeignKey("entries.id"), primary_key=True),
    sql.Column("mp4", sql.LargeBinary, nullable=False),
)
"""An episode of each entry; empty where none can be filmed."""
TOKENS = sql.Table(
    "tokens",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("name", sql.String(80), nullable=False),
    sql.Column("role", sql.String(20), nullable=False),
    sql.Column("sha256", sql.String(64), nullable=False, unique=True),
    sql.Column("created_at", sql.Double, nullable=False),
    sql.Column("expires_at", sql.Double),
    sql.Column("revoked_at", sql.Double),
)
RATES = sql.Table(
    "rates",
    METADATA,
    sql.Column("key", sql.String(120), primary_key=True),
    sql.Column("arrival", sql.Double, nullable=False),
)
JOBS = sql.Table(
    "jobs",
    METADATA,
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
UPLOADS = sql.Table(
    "uploads",
    METADATA,
    sql.Column("job", sql.Integer, sql.ForeignKey("jobs.id"), primary_key=True),
    sql.Column("bundle", sql.LargeBinary, nullable=False),
)
"""Bundles that wait for their verdict, apart from the jobs so that these are read quickly."""
