"""Records whole episodes of a batch as arrays: what was observed, done, paid and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info, Step
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.traits import DENSE_REWARD


@dataclass(frozen=True, slots=True)
class Recording:
    """N episodes side by side, T steps of the longest; behind an end anything may stand."""

    agents: tuple[str, ...]
    observations: dict[str, Array]
    """Agent id -> (T + 1, N, ...), the final one included."""
    actions: dict[str, Array]
    """Agent id -> (T, N, ...)."""
    rewards: FloatArray
    """(T, N, agents), as they were paid."""
    info: dict[str, Array]
    """Name -> (T + 1, N, ...), at the start and after each step."""
    terminated: BoolArray
    """(T, N)."""
    truncated: BoolArray
    """(T, N)."""
    valid: BoolArray
    """(T, N): the step belongs to the episode."""
    optimal_values: FloatArray | None
    """(T + 1, N), see ``BatchEnv.optimal_values``."""
    events: dict[str, BoolArray]
    """Name -> (T, N, agents), see ``BatchEnv.events``."""

    @property
    def lengths(self) -> IntArray:
        """(N,): steps of each episode."""
        found: IntArray = self.valid.sum(0)
        return found

    @property
    def returns(self) -> FloatArray:
        """(N,): the team's return, its rewards' sum over steps and agents."""
        found: FloatArray = np.where(self.valid, self.rewards.sum(-1), 0.0).sum(0)
        return found

    @property
    def team_rewards(self) -> FloatArray:
        """(T, N): what each step earned the team, where it was paid later too; 0 behind ends."""
        dense = self.info[DENSE_REWARD][1:] if DENSE_REWARD in self.info else self.rewards
        found: FloatArray = np.where(self.valid, dense.sum(-1), 0.0)
        return found


class Recorder:
    """Wraps a fresh batch and records one episode in each of its environments.

    All other attributes are the environment's.
    """

    def __init__(self, env: BatchEnv) -> None:
        """Record ``env`` from its next reset on."""
        self._env = env
        self._seen: list[dict[str, Array]] = []
        self._info: list[Info] = []
        self._steps: list[tuple[Mapping[str, Array], Step, BoolArray]] = []
        self._values: list[FloatArray | None] = []
        self._events: list[dict[str, BoolArray]] = []
        self._active: BoolArray = np.zeros(0, np.bool_)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environment."""
        return getattr(self._env, name)

    def reset(
        self,
        seeds: IntArray,
        ids: IntArray | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], Info]:
        """Start the episodes, all of them; what was recorded before is forgotten."""
        observations, info = self._env.reset(seeds, ids, options)
        self._seen, self._info, self._steps, self._events = [observations], [info], [], []
        self._values = [self._env.optimal_values()]
        self._active = np.ones(self._env.num_envs, np.bool_)
        return observations, info

    def step(self, actions: Mapping[str, Array], active: BoolArray | None = None) -> Step:
        """Step the environment and record what came back."""
        step = self._env.step(actions, active)
        now = self._active if active is None else self._active & active
        self._steps.append((actions, step, now))
        self._seen.append(step.observations)
        self._info.append(step.info)
        self._values.append(self._env.optimal_values())
        self._events.append(self._env.events())
        self._active = now & ~(step.terminated | step.truncated)
        return step

    def recording(self) -> Recording:
        """Return what was recorded since the reset."""
        agents = self._env.agents
        known = [of for of in self._values if of is not None]
        names = self._events[0] if self._events else {}
        terminated = np.stack([step.terminated for _, step, _ in self._steps])
        return Recording(
            agents,
            {a: np.stack([of[a] for of in self._seen]) for a in agents},
            {a: np.stack([np.asarray(of[a]) for of, _, _ in self._steps]) for a in agents},
            np.stack([step.rewards for _, step, _ in self._steps]),
            {name: np.stack([of[name] for of in self._info]) for name in self._info[0]},
            terminated,
            np.stack([step.truncated for _, step, _ in self._steps]) & ~terminated,
            np.stack([now for _, _, now in self._steps]),
            np.stack(known) if known else None,
            {name: np.stack([of[name] for of in self._events]) for name in names},
        )
