"""The templates' environment: what they may call, and how values become text."""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Mapping
from typing import Any

import jinja2

from pkubench import __version__
from pkubench.evaluation import verdict_words
from pkubench.leaderboard.board.columns import Column
from pkubench.leaderboard.board.ranking import MIN_SEEDS, RESAMPLES
from pkubench.leaderboard.board.secret import GAP_LEVEL
from pkubench.leaderboard.site.drawing import number, tick_label
from pkubench.leaderboard.site.pages import agent_page, label_of
from pkubench.leaderboard.submissions.plausible import FASTER, LEVEL


@functools.cache
def environment() -> jinja2.Environment:
    """Return the environment of the site's templates, which are compiled once in a process."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("pkubench.leaderboard.site"),
        autoescape=True,  # every name and text of a submission is escaped
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "number": number,
        "label": label_of,
        "heading_label": lambda text: text[:1].upper() + text[1:],
        "sorted_by": _sorted_by,
        "cell": lambda column, standing: column.write(column, standing, number),
        "sentence": sentence,
        "page": agent_page,
        "steps": lambda value: "\N{EN DASH}" if value is None else tick_label(float(value)),
        "short": lambda value: f"{value:,.6g}".replace("-", "\N{MINUS SIGN}"),
        "heading": heading,
        "count": lambda value: f"{value:,}",
        "signed": signed,
        "p_value": p_value,
        "task_name": lambda name: name.rpartition("/")[2],
        "moment": _moment,
        "verdict": verdict_words.verdict,
        "counts": verdict_words.counts,
        "chance": verdict_words.chance,
        "runs": verdict_words.runs,
        "budget": verdict_words.budget,
    }
    made.globals |= {
        "version": __version__,
        "min_seeds": MIN_SEEDS,
        "resamples": RESAMPLES,
        "gap_level": GAP_LEVEL,
        "doubt_level": LEVEL,
        "faster": f"{FASTER:g}",
    }
    return made


def heading(name: str) -> str:
    """Write a suite's name as a heading; short ones are abbreviations."""
    return name.upper() if len(name) <= 4 else name.capitalize()


def sentence(text: str) -> str:
    """Begin with a capital, end with a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ")")) else ".")


def p_value(value: float | None) -> str:
    """Write a p-value: two significant digits, none below 0.001.

    >>> p_value(0.0432), p_value(1e-9), p_value(1.0), p_value(None)
    ('0.043', '< 0.001', '1', '\N{EN DASH}')
    """
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def signed(value: float) -> str:
    """Write a difference, with its sign.

    >>> signed(1.5), signed(0.0)
    ('+1.500', '0')
    """
    return ("+" if value > 0 else "") + number(value)


def _moment(seconds: float) -> str:
    """Write a time: the day and minute, in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _sorted_by(column: Column, standing: Any) -> float | str:
    """Return the value by which the page sorts; empty is last."""
    value = column.value(standing)
    return "" if value is None else value


def navigation(suites: Mapping[str, str], live: bool) -> list[dict[str, str]]:
    """Return the links of every page: address below the root, and text.

    Args:
        suites: address and name of the suites with entries.
        live: whether a server adds the queue.
    """
    return [
        {"href": "index.html", "text": "Overview"},
        *({"href": href, "text": heading(name)} for href, name in suites.items()),
        {"href": "agents.html", "text": "Agents"},
        {"href": "claims.html", "text": "Claims"},
        *([{"href": "queue.html", "text": "Queue"}] if live else []),
        {"href": "submit.html", "text": "Submit"},
        {"href": "methodology.html", "text": "Method"},
    ]
