"""Costs in the infos of an environment that somebody else wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pkubench.envs.by_id.naming import TERMINATED, GymName
from pkubench.envs.core.batch import FloatArray
from pkubench.errors import ConfigError

UNSEEN_EPISODES = 10
"""With ``missing=zero``, a key that no step of so many episodes has is a mistake in its name."""


class CostReader:
    """Reads the costs of steps, and insists that they are there.

    A key that is not there would make every policy safe if it counted as 0, so that it is an error
    unless the name says ``missing=zero``, for environments which report a cost only where there is
    one. No key may be missing from all of the first ten episodes.
    """

    def __init__(self, name: GymName) -> None:
        """Read the costs that ``name`` gives."""
        self.name = name
        self.unseen = {key for key, _ in name.costs if key != TERMINATED}
        self.episodes = 0

    def read(self, info: Mapping[str, Any], terminated: bool) -> tuple[FloatArray, bool]:
        """Return the costs of a step, (costs,) float64, and whether it reports all of them.

        Raises:
            ConfigError: a key is missing, or its value is not one number of at least 0.
        """
        costs = np.zeros(len(self.name.costs))
        is_whole = True
        for k, (key, _) in enumerate(self.name.costs):
            if key == TERMINATED:
                costs[k] = float(terminated)
                continue
            value = _entry(info, key.removeprefix("-"))
            if value is None:
                is_whole = False
                if self.name.missing == "error":
                    raise ConfigError(self._lacking(key, info))
                continue
            self.unseen.discard(key)
            costs[k] = self._number(key, value)
        return costs, is_whole

    def end_episode(self, info: Mapping[str, Any]) -> None:
        """Count an episode.

        Raises:
            ConfigError: no step of the first ten episodes had one of the keys.
        """
        self.episodes += 1
        if self.unseen and self.episodes >= UNSEEN_EPISODES:
            key = min(self.unseen)
            raise ConfigError(f"in {self.episodes} episodes, {self._lacking(key, info)}")

    def _lacking(self, key: str, info: Mapping[str, Any]) -> str:
        known = ", ".join(sorted(map(str, info))) or "nothing"
        more = (
            ""
            if self.name.missing == "zero"
            else ("; if it reports a cost only where there is one, add --cost-missing zero")
        )
        return (
            f"{self.name.env_id} reports no {key.removeprefix('-')!r} in the infos of a step, "
            f"which have {known}{more}"
        )

    def _number(self, key: str, value: Any) -> float:
        array = np.asarray(value)
        plain = key.removeprefix("-")
        what = f"{plain!r} of {self.name.env_id}"
        if array.size != 1 or array.dtype.kind not in "biuf":
            raise ConfigError(f"{what} is not one number, and so not a cost: {value!r:.60}")
        cost = float(array.item())
        if not np.isfinite(cost):
            raise ConfigError(f"{what} is {cost}, which is not a cost")
        cost = -cost if key != plain else cost
        if cost < 0.0:
            other = plain if key != plain else f"-{plain}"
            raise ConfigError(
                f"{what} is {value!r:.60}, and costs are at least 0: where it is never above 0, "
                f"--cost-key={other} turns its sign"
                if key == plain
                else f"{what} is {value!r:.60}, and the key {key!r} is for numbers of at most 0"
            )
        return abs(cost)


def _entry(info: Mapping[str, Any], key: str) -> Any:
    """Return an entry of nested infos by its name, or by the path of names with dots between."""
    if key in info:
        return info[key]
    head, dot, rest = key.partition(".")
    inner = info.get(head)
    return _entry(inner, rest) if dot and isinstance(inner, Mapping) else None
