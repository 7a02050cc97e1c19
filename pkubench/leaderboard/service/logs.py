"""Logs of servers and workers: lines to read, or one JSON object a line."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Any, Literal

LogFormat = Literal["text", "json"]
FIELDS = "fields"
"""Attribute of a log record with its details: ``extra={FIELDS: {...}}``."""


class JsonLines(logging.Formatter):
    """Writes each record as one JSON object with its time, level, logger, message and details."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        entry: dict[str, Any] = {
            "time": time.isoformat("T", "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class TextLines(logging.Formatter):
    """Writes time, level, logger and message, and the details as JSON."""

    def __init__(self) -> None:
        """Use the format of all of pkubench's logs."""
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        details = getattr(record, FIELDS, None)
        text = super().formatMessage(record)
        return text if details is None else f"{text} {json.dumps(details)}"


def start_logging(form: LogFormat = "text", *, quiet: bool = False) -> None:
    """Log to stderr from now on: requests, submissions and verdicts, or only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(
        handlers=[handler], level=logging.WARNING if quiet else logging.INFO, force=True
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
