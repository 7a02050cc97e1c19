"""The demonstration: found by search on one object, then edited for every other."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkubench.agents.contract import FloatArray
from pkubench.agents.families.demo_edit.config import DemonstrationConfig
from pkubench.agents.families.demo_edit.episodes import grasp_scene
from pkubench.agents.learner import Context
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.envs.grasp.search import EPISODE_STEPS, search
from pkubench.errors import ConfigError


def make_scene(context: Context, num_envs: int) -> BatchEnv:
    """Make environments with the objects to train on."""
    config: DemonstrationConfig = context.settings
    chosen: dict[str, Any] = {} if config.objects is None else {"objects": config.objects}
    if chosen:
        chosen["splits"] = "train"
    return context.make_env(num_envs, **chosen)


def training_objects(env: BatchEnv) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the numbers of the objects that are trained on."""
    scene: Any = grasp_scene(env)
    members = getattr(scene, "members", {"train": range(len(scene.items))})
    if "train" not in members:
        raise ConfigError(f"this agent trains on the split train; loaded are {', '.join(members)}")
    return np.array(members["train"], dtype=np.int64)


def demonstrate(context: Context) -> tuple[FloatArray, int]:
    """Search for a script that holds one object.

    Returns:
        The script, (24,), and the environment steps that the search took.

    Raises:
        ConfigError: there is no such object, or no script held it.
    """
    config: DemonstrationConfig = context.settings
    env = make_scene(context, config.demo_envs)
    try:
        scene, known = grasp_scene(env), training_objects(env)
        if config.shown >= len(known):
            raise ConfigError(f"shown must be below {len(known)}, the objects to train on")
        start = int(TrainingSeeds(context.seed, 1).next(np.zeros(1, np.int64))[0])
        rounds = search(scene, context.seed, start=start, number=int(known[config.shown]))
        for _ in range(config.demo_rounds):
            found = next(rounds)
            if found.held.mean() >= config.demo_share:
                break
        if not found.held.any():
            raise ConfigError(
                f"no script held the object {scene.items[int(known[config.shown])].name} in "
                f"{found.episodes} episodes: choose another with shown, or more demo_rounds"
            )
        # Rounded as it is saved, so that what is trained is what acts.
        script = found.mean.astype(np.float32).astype(np.float64)
        return script, found.episodes * EPISODE_STEPS
    finally:
        env.close()
