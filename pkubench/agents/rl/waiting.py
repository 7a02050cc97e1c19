"""Environments of a batch that wait for the others: what is returned for them means nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from pkubench.envs.core.batch import Array, BoolArray, Step


def standing_still(
    step: Step,
    waiting: BoolArray,
    observations: Mapping[str, Array],
    info: Mapping[str, Array],
    earned: Collection[str],
) -> Step:
    """Return a step in which some environments stand still, and earn and cost nothing.

    Args:
        step: of the whole batch.
        waiting: (num_envs,), which environments were not active.
        observations: before the step.
        info: before the step.
        earned: names of infos that are 0 where nothing happens.
    """

    def kept(new: Mapping[str, Array], old: Mapping[str, Array]) -> dict[str, Array]:
        found = {name: array.copy() for name, array in new.items()}
        for name, array in found.items():
            array[waiting] = 0 if name in earned else old[name][waiting]
        return found

    rewards = np.where(waiting[:, None], 0.0, step.rewards)
    ended, cut = step.terminated & ~waiting, step.truncated & ~waiting
    return Step(kept(step.observations, observations), rewards, ended, cut, kept(step.info, info))
