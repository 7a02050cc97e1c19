"""Replays recorded moments of JaxMARL's SMAX (``tools/record_smax.py``) in ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.envs.battle.heuristic import command
from pkubench.envs.battle.micro_battle import MicroBattle

Array = npt.NDArray[Any]
FOLDER = Path(__file__).parents[1] / "data" / "smax"
SCENARIOS = tuple(sorted(file.stem for file in FOLDER.glob("*.npz")))


def load(file: Path) -> dict[str, Array]:
    """Return the arrays of a file, the moments on axis 0."""
    with np.load(file, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def restored(scenario: str, moments: Mapping[str, Array]) -> MicroBattle:
    """Return a batch with one environment in the state of each moment."""
    count = len(moments["reward"])
    env = MicroBattle(count, scenario=scenario)
    env.reset(np.arange(count))
    fight = env.combat
    if env.scenario.types is None:
        fight.stats.set(np.arange(count), moments["types"].T)
    fight.positions[:] = moments["positions"].transpose(2, 1, 0)
    fight.health[:] = moments["health"].T
    fight.cooldowns[:] = moments["cooldowns"].T
    fight.alive[:] = moments["alive"].T
    fight.last_moves[:] = moments["moves"].transpose(2, 1, 0)
    fight.last_attacks[:] = moments["attacks"].T
    env.enemy_targets[:] = moments["enemy_targets"].T
    env.enemy_goals[:] = moments["enemy_goals"].transpose(2, 1, 0)
    env.refresh()
    return env


def decision_errors(scenario: str, moments: Mapping[str, Array]) -> int:
    """Return how many decisions of living enemies, and targets they remember, differ."""
    env = restored(scenario, moments)
    allies = env.scenario.num_allies
    goal = env.enemy_goals - env.combat.positions[:, allies:]
    order = command(env.views.enemy_view(), env.enemy_targets, goal, moments["luck"].T)
    differs = order.actions != moments["enemy_actions"].T
    differs |= order.targets != moments["enemy_targets_after"].T
    return int((differs & env.combat.alive[allies:]).sum())


def step_errors(scenario: str, moments: Mapping[str, Array]) -> dict[str, float]:
    """Return by how much one step differs at most, by quantity, in cells, health and seconds."""
    env = restored(scenario, moments)
    reward, is_over, _ = env.fight(moments["actions"].T, moments["noise"].transpose(1, 2, 0))
    fight = env.combat
    full = len(moments["observations"])
    masks = env.views.action_masks().transpose(1, 0, 2)[:full]
    observations = env.views.observations().transpose(1, 0, 2)[:full]
    pairs = {
        "positions": (fight.positions.transpose(2, 1, 0), moments["positions_after"]),
        "health": (fight.health.T, moments["health_after"]),
        "cooldowns": (fight.cooldowns.T, moments["cooldowns_after"]),
        "alive": (fight.alive.T, moments["alive_after"]),
        "moves": (fight.last_moves.transpose(2, 1, 0), moments["moves_after"]),
        "attacks": (fight.last_attacks.T, moments["attacks_after"]),
        "reward": (reward, moments["reward"]),
        "is_over": (is_over, moments["is_over"]),
        "observations": (observations, moments["observations"]),
        "masks": (masks, moments["masks"]),
        "world_state": (env.state()[:full], moments["world_state"]),
    }
    return {
        name: float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())
        for name, (ours, theirs) in pairs.items()
    }
