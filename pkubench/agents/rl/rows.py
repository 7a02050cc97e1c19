"""Rows of a rollout: what is read of a step, and the steps stacked over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.errors import ConfigError

Array = npt.NDArray[Any]


def flat_inputs(
    observations: Mapping[str, Array],
    state: Array,
    fresh: bool | Array,
    alive: Array | None = None,
) -> tuple[dict[str, Array], Array]:
    """Return flat float32 network inputs, not normalised (see ``rl.behaviour.Prepare``)."""
    flat = {
        a: o.reshape(len(o), -1).astype(np.float32, copy=False) for a, o in observations.items()
    }
    return flat, state.astype(np.float32, copy=False)


def masks_of(info: Mapping[str, Array], agents: tuple[str, ...]) -> dict[str, Array]:
    """Return the action masks in an info: ``action_mask`` or ``action_mask:AGENT``."""
    if "action_mask" in info:
        return {agents[0]: info["action_mask"]}
    return {a: info[f"action_mask:{a}"] for a in agents if f"action_mask:{a}" in info}


def cost_sources(info: Mapping[str, Array], keys: Sequence[str]) -> Array:
    """Return a step's costs by source, (sources, N) float64.

    Raises:
        ConfigError: the environment does not report one of them.
    """
    for key in keys:
        if key not in info:
            known = ", ".join(sorted(k for k in info if k.startswith("cost")))
            raise ConfigError(
                f"cost_limits names {key!r}, which this environment does not report; it has "
                f"{known or 'no costs'}"
            )
    return np.stack([np.asarray(info[key], np.float64) for key in keys])


def credit_extras(info: Mapping[str, Array], keys: Sequence[str]) -> dict[str, Array]:
    """Return the entries of a step's info that the credit model reads, each (N, ...) float64.

    Raises:
        ConfigError: the environment does not report one of them.
    """
    for key in keys:
        if key not in info:
            raise ConfigError(
                f"this credit reads {key!r} in the info of every step, which this environment does "
                "not report"
            )
    return {key: np.asarray(info[key], np.float64) for key in keys}


def stacked(rows: Mapping[str, list[Any]], agents: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a rollout, but for hidden states, from those of each of its steps."""

    def by_agent(name: str) -> dict[str, Array]:
        return {a: np.stack([row[a] for row in rows[name]]) for a in agents if a in rows[name][0]}

    def plain(name: str, dtype: Any = np.float32) -> Array:
        return np.stack(rows[name]).astype(dtype, copy=False)

    keys = rows["extras"][0] if rows["extras"] else ()
    return {
        "observations": by_agent("observations"),
        "states": _floats(rows["states"]),
        "actions": by_agent("actions"),
        "log_probs": by_agent("log_probs"),
        "masks": by_agent("masks"),
        "rewards": plain("rewards", np.float64),
        "costs": plain("costs"),
        "terminated": plain("terminated", np.bool_),
        "truncated": plain("truncated", np.bool_),
        "next_observations": by_agent("next_observations"),
        "next_states": _floats(rows["next_states"]),
        "first": plain("first", np.bool_),
        "valid": plain("valid", np.bool_),
        "sources": plain("sources") if rows["sources"] else None,
        "alive": plain("alive", np.bool_) if rows["alive"] else None,
        "died": plain("died", np.bool_) if rows["died"] else None,
        "extras": {key: np.stack([row[key] for row in rows["extras"]]) for key in keys},
    }


def _floats(rows: list[Array]) -> Array:
    """Return rows as float32, except bytes (images), which stay as they are."""
    stacked = np.stack(rows)
    return stacked if stacked.dtype == np.uint8 else stacked.astype(np.float32, copy=False)
