"""One exception family: everything a user can do wrong is a ``PkubenchError``.

The command line prints the message on one line and exits with ``exit_code``; it never shows a
traceback for these.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class PkubenchError(Exception):
    """A user error. The message says what was wrong and what to do."""

    exit_code: int = 2


class UnknownName(PkubenchError):
    """A task, agent, metric or option that does not exist; the message names the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        """Build the message for an unknown ``name`` among ``known`` names of one ``kind``."""
        known = sorted(known)
        near = nearest(name, known)
        more = f" and {len(known) - 12} more" if len(known) > 12 else ""
        listing = hint or (f"known: {', '.join(known[:12])}{more}" if known else "")
        guess = f"; did you mean {near!r}? " if near else "; " if listing else ""
        super().__init__(f"no {kind} {name!r}{guess}{listing}".rstrip())
        self.kind, self.name, self.nearest = kind, name, near


class MissingExtra(PkubenchError):
    """A capability whose optional dependency is not installed."""

    def __init__(self, extra: str, needed_for: str) -> None:
        """Name the ``extra`` and what it is ``needed_for``; the message is the pip line."""
        super().__init__(f"{needed_for} needs an extra: pip install 'pkubench[{extra}]'")
        self.extra = extra


class ConfigError(PkubenchError):
    """A setting outside its domain, or two settings that do not go together."""


class ActionError(PkubenchError):
    """An action of the wrong shape, dtype or range, or not a number."""


class AgentError(PkubenchError):
    """An agent that cannot be loaded, or does not follow the contract."""


class AgentUnavailable(PkubenchError):
    """What an agent acts with (a server, a budget, a person) is not there now.

    It is no failure of the agent: the evaluation stops, and resumes with the episodes that have no
    record.
    """

    exit_code = 1


class WeightsError(AgentError):
    """A weights file that is corrupt, truncated, of another format, or does not fit."""


class DataError(PkubenchError):
    """Recorded episodes that are damaged or incomplete, or do not fit what is trained on them."""


class RecordError(PkubenchError):
    """Records that are corrupt, incomplete, or of another evaluation."""


class BundleError(PkubenchError):
    """A submission bundle that is damaged or not acceptable."""


class StorageError(PkubenchError):
    """A folder or file that cannot be written or read."""


class RefusedError(PkubenchError):
    """Something that would run untrusted code, refused without explicit trust."""


class PkubenchWarning(UserWarning):
    """Something the user should know; the command line prints it as a note."""


class AgentNotice(PkubenchWarning):
    """What was done to make an agent fit a task: not an error, but useful to know."""


class SupersededWarning(PkubenchWarning):
    """An id of an earlier version of an environment, which is resolved to the current one."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the known name closest to ``name``, without case, namespace and version.

    One that begins with ``name`` is closer than all that do not, and the shortest is the closest.
    """
    by_key: dict[str, str] = {}
    for candidate in known:
        by_key.setdefault(_key(candidate), candidate)
    longer = [key for key in by_key if len(_key(name)) > 2 and key.startswith(_key(name))]
    if longer:
        return by_key[min(longer, key=len)]
    match = difflib.get_close_matches(_key(name), list(by_key), n=1, cutoff=cutoff)
    return by_key[match[0]] if match else None


def _key(name: str) -> str:
    return re.sub(r"-v\d+$", "", name.rsplit("/", 1)[-1].lower())


def counted(number: int | str, noun: str) -> str:
    """Return a number, written as it is given, with its noun: ``1 episode``, ``2,000 episodes``."""
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"
