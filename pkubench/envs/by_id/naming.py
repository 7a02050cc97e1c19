"""Names of Gymnasium environments with costs: ``gym:Ant-v5(cost=-reward_ctrl:300)``.

The costs are part of the name, and so of every record: which entries of the infos are costs, and
the limit on the mean of each one's sum over an episode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pkubench.errors import ConfigError

PREFIX = "gym:"
TERMINATED = "terminated"
"""The key of a cost of 1 for a step that ends in a terminal state."""
DEFAULT_LIMIT = 25.0
"""Of a single cost that is given no limit: that of OmniSafe's tables."""

REPORTED = "cost_reported"
"""With ``missing=zero``, the info with the share of an episode's steps that report all costs."""

_NAME = re.compile(r"gym:(?P<id>[^()]+)(\((?P<options>[^()]*)\))?")
_ENV_ID = re.compile(r"([\w.-]+/)?[\w.-]+")
_KEY = re.compile(r"-?[A-Za-z_][\w./ -]*")
_EXAMPLE = "gym:Ant-v5(cost=-reward_ctrl:300,cost=-reward_contact:5)"

Missing = Literal["error", "zero"]


@dataclass(frozen=True, slots=True)
class GymName:
    """What a name says."""

    env_id: str
    """Gymnasium's id."""
    costs: tuple[tuple[str, float], ...] = ()
    """Keys of costs and their limits; a key that begins with ``-`` is a cost with its sign turned,
    as environments report those that they subtract from the reward."""
    missing: Missing = "error"
    """A step whose infos lack a key is an error, or costs nothing."""

    @property
    def text(self) -> str:
        """The name, spelled in one way."""
        options = [f"cost={key}:{_number(limit)}" for key, limit in self.costs]
        options += ["missing=zero"] if self.missing == "zero" else []
        return f"{PREFIX}{self.env_id}" + (f"({','.join(options)})" if options else "")


def source(key: str) -> str:
    """Return the info with one of several costs of a step."""
    return f"cost.{key}"


def total(key: str) -> str:
    """Return the info with one of several costs, summed over the episode so far."""
    return f"total_{source(key)}"


def parsed(name: str) -> GymName:
    """Return what ``gym:ID(cost=KEY:LIMIT,...,missing=zero)`` says.

    Raises:
        ConfigError: it is spelled otherwise, a limit is not a number of at least 0, or a key is
            given twice.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ConfigError(f"{name!r} must be {PREFIX}ID or, with costs, like {_EXAMPLE}")
    env_id = found["id"]
    if not _ENV_ID.fullmatch(env_id):
        module = env_id.partition(":")[0]
        raise ConfigError(
            f"{env_id!r} is not the id of a Gymnasium environment; one that a module registers is "
            f"named without it, and the module in PKUBENCH_PLUGINS={module}"
            if ":" in env_id
            else f"{env_id!r} is not the id of a Gymnasium environment, such as Hopper-v5"
        )
    costs: dict[str, float] = {}
    missing: Missing = "error"
    for option in filter(None, (found["options"] or "").split(",")):
        setting, _, value = option.strip().partition("=")
        if setting == "missing" and value in ("error", "zero"):
            missing = "zero" if value == "zero" else "error"
        elif setting == "cost":
            key, _, limit = value.rpartition(":")
            add_cost(costs, key, limit)
        else:
            raise ConfigError(f"{option!r} in {name!r} is unknown; costs are named like {_EXAMPLE}")
    if missing == "zero" and not costs:
        raise ConfigError(f"missing=zero in {name!r} needs a cost, and there is no cost=KEY:LIMIT")
    return GymName(env_id, tuple(costs.items()), missing)


def add_cost(costs: dict[str, float], key: str, limit: str) -> None:
    """Add a cost and its limit to those before.

    Raises:
        ConfigError: the key is spelled wrongly or known already, or the limit is not a number.
    """
    try:
        number = float(limit)
    except ValueError:
        number = math.nan
    if not _KEY.fullmatch(key) or not 0.0 <= number < math.inf:
        raise ConfigError(
            f"cost {key!r} with the limit {limit!r} must be a key of the environment's infos and a "
            "number of at least 0, as in --cost-key cost --cost-limit 25"
        )
    if key in costs:
        raise ConfigError(f"the cost {key!r} is given twice")
    costs[key] = number


def with_costs(name: str, keys: Sequence[str], limits: Sequence[str], missing: str) -> str:
    """Return the name of an environment with the costs that flags give.

    Args:
        name: ``gym:ID``.
        keys: ``KEY`` or ``KEY:LIMIT``.
        limits: of the keys that have none of their own, in their order. One key without any has
            the limit 25.
        missing: ``error`` or ``zero``.

    Raises:
        ConfigError: as :func:`parsed`; the name has costs already; limits and keys do not pair.
    """
    given = parsed(name)
    if given.costs:
        raise ConfigError(f"{name} names its costs already: leave --cost-key out")
    if missing not in ("error", "zero"):
        raise ConfigError(f"--cost-missing {missing!r} is neither error nor zero")
    costs: dict[str, float] = {}
    rest = list(limits)
    for text in keys:
        key, colon, limit = text.rpartition(":")
        if not colon:
            key = text
            if not rest and len(keys) > 1:
                raise ConfigError(
                    f"--cost-key {key} has no limit: give a --cost-limit for each, in this order"
                )
            limit = rest.pop(0) if rest else str(DEFAULT_LIMIT)
        add_cost(costs, key, limit)
    if rest:
        raise ConfigError(f"--cost-limit {rest[0]} is of no --cost-key")
    rule: Missing = "zero" if missing == "zero" else "error"
    return GymName(given.env_id, tuple(costs.items()), rule).text


def _number(limit: float) -> str:
    """Return a limit without a plus sign, which begins a variant in names of tasks."""
    return repr(int(limit)) if limit == int(limit) else repr(limit).replace("e+", "e")
